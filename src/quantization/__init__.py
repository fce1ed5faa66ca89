"""Quantization of a trained network: activation ranges, integer ONNX graphs, layer sensitivity, fake quantization."""
