"""Trainings as parts of a stage: the job and its outputs, who teaches, quantization-aware training."""
