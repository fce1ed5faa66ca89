"""The ultralytics adapter: build, load, save, train, validate, export. Import this package before ultralytics.

Importing it settles what ultralytics decides at its own import: no network, no installing of packages at run time, no
logging integrations of its own, and compiled torchvision operators that may be absent.
"""

from __future__ import annotations

import os

# The user may have said otherwise; only what is not set is settled here.
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "true")  # a .pt file is a pickle: admit only known classes

from src.detector.torchvision_operators import provide_torchvision_operators

provide_torchvision_operators()

from ultralytics.utils import SETTINGS

for _integration in ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"):
    # Not SETTINGS.update(): that would write the user's own settings file. ultralytics' MLflow callback logs every
    # trainer argument and stops tracking at the first one that clashes with ours.
    dict.__setitem__(SETTINGS, _integration, False)
