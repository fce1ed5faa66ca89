"""From a trained network to eight bits: observing activations, choosing ranges, integer graphs. Knows ONNX alone."""

WITHOUT_RANGES = ("dynamic", "fp16", "int4")
"""The methods that take nothing from calibration: controls, and not static INT8."""
