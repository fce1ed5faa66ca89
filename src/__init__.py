"""Shrinks a YOLO detector: teacher, distilled student, pruning, calibration, INT8.

A module of this folder is a stage or a command; a folder is a subject, or surrounds the stages.

Importing anything of this package settles what ultralytics and MLflow decide at their own import: no network, no
packages installed at run time, no pickled code of unknown classes. What the user has set stays.
"""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
"""The root of the checkout whose code runs: in a queued experiment the temporary copy that DVC makes of it."""

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
