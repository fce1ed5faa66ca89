"""From a trained network to eight bits: ranges of activations, integer graphs, sensitivity. Knows ONNX graphs alone."""
