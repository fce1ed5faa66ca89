"""Ranges of activations: observation, histograms, and one calibrator per file."""
