"""The ultralytics adapter: build, load, save, train and validate a detector.

Importing this package turns off ultralytics' own integrations, and defines torchvision's operators if they cannot be
loaded.
"""

from __future__ import annotations

from src.detector.torchvision_operators import provide_torchvision_operators

provide_torchvision_operators()

from ultralytics.utils import SETTINGS

for _integration in ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"):
    # Not SETTINGS.update(): that would write the user's own settings file. ultralytics' MLflow callback logs every
    # trainer argument and stops tracking at the first one that clashes with ours.
    dict.__setitem__(SETTINGS, _integration, False)
