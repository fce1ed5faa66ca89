"""Accuracy and detections of a file in its own runtime: ultralytics loads and scores the images, the file predicts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ultralytics.models.yolo.detect import DetectionPredictor

from src.delivery.opened import Opened
from src.deployment.detections import Detections
from src.detector.dataset import view_of
from src.detector.fitted_dataset import FittedValidator
from src.evaluation.detections import LEAST_SCORE
from src.foundation.image_size import ImageSize, height_width

SPLIT = "val"


@dataclass(frozen=True)
class MeanPrecision:
    """mAP50-95 and mAP50 on val, in [0, 1]."""

    map50_95: float
    map50: float


class _Detector(torch.nn.Module):
    """A file as ultralytics' validator and predictor take it."""

    def __init__(self, opened: Opened, names: Sequence[str]) -> None:
        super().__init__()
        self.opened = opened
        self.names: Mapping[int, str] = dict(enumerate(names))
        self.end2end = opened.without_duplicates

    def __deepcopy__(self, copied: object) -> _Detector:
        # ultralytics copies a detector before it validates it. A runtime may hold what cannot be copied, and predicts.
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return boxes and scores of images, one pass each, as on a device."""
        return torch.from_numpy(np.concatenate([self.opened(image[None]) for image in images.numpy()]))


def accuracy_of(opened: Opened, names: Sequence[str], prepared: Path, imgsz: ImageSize) -> MeanPrecision:
    """Return the accuracy of a file on val.

    Args:
        opened: the file.
        names: of its classes.
        prepared: the folder that prepare-labels wrote.
        imgsz: px, size of its input.
    """
    with view_of(prepared) as data, tempfile.TemporaryDirectory(prefix="validation-") as scratch:
        validator = FittedValidator(
            imgsz,
            args={
                "task": "detect",
                "mode": "val",
                "data": str(data),
                "split": SPLIT,
                "device": "cpu",
                "plots": False,
                "workers": 0,
                "verbose": False,
                "project": scratch,
                "name": "validator",
            },
        )
        validator(model=_Detector(opened, names))
    box = validator.metrics.box
    return MeanPrecision(round(float(box.map), 6), round(float(box.map50), 6))


def detections_of(
    opened: Opened, names: Sequence[str], images: Sequence[Path], imgsz: ImageSize
) -> Iterator[Detections]:
    """Yield the detections of a file in each of `images`, those with a score of at least `LEAST_SCORE`."""
    predictor = DetectionPredictor(
        overrides={
            "task": "detect",
            "mode": "predict",
            "imgsz": height_width(imgsz),
            "conf": LEAST_SCORE,
            "device": "cpu",
            "rect": False,
            "save": False,
            "verbose": False,
        }
    )
    predictor.setup_model(_Detector(opened, names), verbose=False)
    for image in images:
        [result] = predictor(source=str(image))
        boxes = result.boxes.cpu().numpy()
        yield Detections(
            boxes_xyxy=boxes.xyxy.astype(np.float64),
            scores=boxes.conf.astype(np.float64),
            classes=boxes.cls.astype(np.int64),
        )
