"""Shrinks a YOLO detector: teacher, distilled student, pruning, calibration, INT8. Modules
are stages, folders subjects.
"""
