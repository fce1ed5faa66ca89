"""Shrinks a YOLO detector: teacher, distilled student, pruning, calibration, INT8.

A module of this folder is a stage or a command; a folder is a subject, or surrounds the stages.

Importing anything of this package settles what ultralytics, MLflow and OpenVINO decide at their own import: no network,
no packages installed at run time, no pickled code of unknown classes. The user's own environment variables stay.
"""

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
"""The root of the checkout whose code runs: in a queued experiment the temporary copy that DVC makes of it."""

LAUNCHERS_SHARE = os.environ.get("OMP_NUM_THREADS", "")
"""The number of threads that a launcher gave to this process; empty: none did. It is read before ultralytics, at its
import, sets the variable to 1 where it is not set."""

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# OpenVINO reports each use to an analytics server unless the user has declined. It has no switch; where this package
# cannot be imported, it uses a stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: the import fails
