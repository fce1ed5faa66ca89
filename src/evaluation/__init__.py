"""Evaluation of detectors: agreement of two detectors, latency, and the gate of INT8."""
