"""Statistics of a labelled dataset: images and boxes per class and split, and the box sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.foundation.prepared import SPLITS, UNLABELLED
from src.labels.dataset import Dataset, LabelledImage
from src.labels.faults import Faults, shown

PERCENTILES = (5, 25, 50, 75, 95)
COCO_AREAS_PX = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}  # arXiv:1405.0312, section 5


def summarize(dataset: Dataset) -> dict[str, Any]:
    """Return counts and box sizes as a nested dict for JSON.

    Keys: `images`, `boxes` and `backgrounds` (images without boxes) per split; `unlabelled`, the number of training
    images whose labels were set aside; `classes.<name>.{images,boxes}` per
    split; `box_sizes.side_pct` (percentiles p5 to p95 of sqrt(box area / image area), in percent; absent without boxes)
    and `box_sizes.{small,medium,large}` (number of boxes in COCO's ranges of the area, in square pixels).
    """
    of_split = {split: [image for image in dataset.images if image.split == split] for split in SPLITS}
    sides = np.concatenate([relative_sides(image) for image in dataset.images] or [np.zeros(0)])
    areas = np.concatenate([_areas_px(image) for image in dataset.images] or [np.zeros(0)])
    sizes: dict[str, Any] = {
        name: int(((areas >= low) & (areas < high)).sum()) for name, (low, high) in COCO_AREAS_PX.items()
    }
    if len(sides):
        quantiles = np.percentile(100 * sides, PERCENTILES)
        sizes["side_pct"] = {f"p{p}": round(float(value), 3) for p, value in zip(PERCENTILES, quantiles, strict=True)}
    return {
        "images": {split: len(images) for split, images in of_split.items()},
        "boxes": {split: sum(len(image.classes) for image in images) for split, images in of_split.items()},
        "backgrounds": {split: sum(not len(image.classes) for image in images) for split, images in of_split.items()},
        "unlabelled": sum(image.split == UNLABELLED for image in dataset.images),
        "classes": _per_class(dataset, of_split),
        "box_sizes": sizes,
    }


def note_classes_without_boxes(dataset: Dataset, faults: Faults) -> None:
    """Note the classes that no box of the dataset has: the detector gets outputs for them, and learns nothing."""
    used = {int(index) for image in dataset.images for index in image.classes}
    for index, name in enumerate(dataset.class_names):
        if index not in used:
            faults.note(faults.root, "no_box", f"the class {shown(name)} has no box")


def relative_sides(image: LabelledImage) -> NDArray[np.float64]:
    """Return sqrt(box area / image area) of each box: (N,), in (0, 1]."""
    return np.sqrt(_areas_px(image) / (image.size_wh[0] * image.size_wh[1]))


def _areas_px(image: LabelledImage) -> NDArray[np.float64]:
    sides = image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]
    return sides[:, 0] * sides[:, 1]


def _per_class(dataset: Dataset, of_split: dict[str, list[LabelledImage]]) -> dict[str, Any]:
    count = len(dataset.class_names)
    images = {split: np.zeros(count, dtype=np.int64) for split in SPLITS}
    boxes = {split: np.zeros(count, dtype=np.int64) for split in SPLITS}
    for split in SPLITS:
        for image in of_split[split]:
            boxes[split] += np.bincount(image.classes, minlength=count)
            images[split][np.unique(image.classes)] += 1
    return {
        name: {
            "images": {split: int(images[split][index]) for split in SPLITS},
            "boxes": {split: int(boxes[split][index]) for split in SPLITS},
        }
        for index, name in enumerate(dataset.class_names)
    }
