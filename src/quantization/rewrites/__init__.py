"""Rewrites of ONNX graphs that keep what they compute: one per file."""
