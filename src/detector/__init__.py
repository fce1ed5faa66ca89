"""The ultralytics adapter: build, load, save, train and validate a detector.

Importing this package turns off what ultralytics would send or log on its own, removes the limit of time from its
non-maximum suppression, and defines torchvision's operators if they cannot be loaded.
"""

from __future__ import annotations

import os

from src import LAUNCHERS_SHARE
from src.detector.torchvision_operators import provide_torchvision_operators

provide_torchvision_operators()

from ultralytics.data import utils as data_utils
from ultralytics.utils import SETTINGS, downloads
from ultralytics.utils.callbacks import platform

from src.detector.non_maximum_suppression import remove_time_limit

remove_time_limit()

if not LAUNCHERS_SHARE:
    # ultralytics has set it to 1: a process that this one starts would take that for a launcher's share.
    os.environ.pop("OMP_NUM_THREADS", None)

for _integration in ("clearml", "comet", "dvc", "mlflow", "raytune", "sync", "tensorboard", "wandb"):
    # Not SETTINGS.update(): that would write the user's own settings file. ultralytics' MLflow callback logs every
    # trainer argument and stops tracking at the first one that clashes with ours.
    dict.__setitem__(SETTINGS, _integration, False)

# It would download a font for plots, which are not drawn.
data_utils.check_font = lambda font: None

# Before it opens a file of weights, it leaves apostrophes out of the path and takes yolov5n.pt for yolov5nu.pt; what
# it then does not find it would download.
downloads.attempt_download_asset = lambda file, *others, **settings: str(file)

# Where an API key of ultralytics' platform is set, these would send it the metrics and the weights of every training.
platform.callbacks.clear()
