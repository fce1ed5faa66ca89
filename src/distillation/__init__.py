"""Knowledge distillation for detectors: a teacher's predictions, one loss per file, and the total loss of a student."""
