"""Rewrites of ONNX graphs, one per file. All but bias correction keep the function that a graph computes."""
