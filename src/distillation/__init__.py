"""Knowledge distillation for detectors: what the teacher says, one loss per file, and the total that a student
minimises.
"""
