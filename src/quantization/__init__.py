"""From a trained network to eight bits: observing activations, choosing ranges, integer graphs. Knows ONNX alone."""
