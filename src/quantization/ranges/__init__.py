"""From observed activations to ranges: one calibrator per file."""
