"""Accuracy of a detector file, .pt or .onnx, measured with ultralytics' validator."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ultralytics import YOLO

from src.detector.fitted_dataset import FittedValidator
from src.foundation.image_size import ImageSize

BATCH = 16  # for .pt files; exported files take one image at a time


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracy on one class: mAP50-95 and mAP50, in [0, 1]."""

    map50_95: float
    map50: float


@dataclass(frozen=True)
class Accuracy:
    """Mean average precision over IoU 0.50 to 0.95, at IoU 0.50, precision and recall at the best F1; in [0, 1].

    `per_class` contains the classes that occur in the split, by name.
    """

    map50_95: float
    map50: float
    precision: float
    recall: float
    per_class: dict[str, ClassAccuracy]


@dataclass(frozen=True)
class ImageMatches:
    """What one image adds to mAP: N detections and M boxes.

    Attributes:
        scores: (N,), [0, 1].
        classes: (N,), indices.
        correct: (N, 10), whether each detection matches a box of its class at IoU 0.50, 0.55 to 0.95.
        labelled: (M,), the classes of the boxes, indices.
    """

    scores: NDArray[np.float32]
    classes: NDArray[np.float32]
    correct: NDArray[np.bool_]
    labelled: NDArray[np.float32]


def validate(detector: Path, data_yaml: Path, *, split: str, imgsz: ImageSize, device: str) -> Accuracy:
    """Return the accuracy of a detector on one split of a dataset; see `validate_by_image`."""
    return validate_by_image(detector, data_yaml, split=split, imgsz=imgsz, device=device)[0]


def validate_by_image(
    detector: Path, data_yaml: Path, *, split: str, imgsz: ImageSize, device: str
) -> tuple[Accuracy, list[ImageMatches]]:
    """Return the accuracy of a detector on one split of a dataset, and what each image adds to it, in their order.

    Every image is letterboxed to the same size, for .pt files too (ultralytics would use other rectangles), so that
    files of both kinds get the same pixels.

    Args:
        detector: a .pt file, or a file that ultralytics exported (such as .onnx) for one image at a time.
        data_yaml: the dataset in ultralytics' format.
        split: train, val or test.
        imgsz: the size, px.
        device: "cpu" or a CUDA index; of several indices the first is used. Exported files run on the CPU.
    """
    is_export = detector.suffix != ".pt"
    images: list[ImageMatches] = []

    def keep(validator: Any) -> None:
        """Keep what the last batch added: the validator forgets it at its end."""
        stats = validator.metrics.stats
        for index in range(len(images), len(stats["conf"])):
            found = (stats[name][index] for name in ("conf", "pred_cls", "tp", "target_cls"))
            images.append(ImageMatches(*found))

    yolo = YOLO(detector, task="detect")
    yolo.add_callback("on_val_batch_end", keep)
    with tempfile.TemporaryDirectory(prefix="validation-") as scratch:
        metrics = yolo.val(
            partial(FittedValidator, imgsz),
            data=str(data_yaml),
            split=split,
            batch=1 if is_export else BATCH,
            device="cpu" if is_export else device.split(",")[0],
            plots=False,
            workers=0,
            verbose=False,
            project=scratch,
            name="validator",
        )
    box = metrics.box
    per_class = {
        metrics.names[int(index)]: ClassAccuracy(_rounded(box.maps[int(index)]), _rounded(box.ap50[position]))
        for position, index in enumerate(box.ap_class_index)
    }
    return Accuracy(_rounded(box.map), _rounded(box.map50), _rounded(box.mp), _rounded(box.mr), per_class), images


def _rounded(value: float) -> float:
    """Return `value` with six digits: more than any split can resolve, and easy to read in a diff."""
    return round(float(value), 6)
