"""From a checkpoint to ONNX and TFLite, and the runtimes that run them."""
