"""Evaluation of detectors: agreement of two detectors, latency, the gates of INT8, and the verdict on a run."""
