"""Export of checkpoints to ONNX and TFLite, work on ONNX graphs, and the runtimes that run them."""
