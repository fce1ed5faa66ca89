"""The dataset that every reader returns: labelled images, independent of the format of the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledImage:
    """An image and its boxes.

    Attributes:
        path: the image file.
        size_wh: width and height, px.
        boxes_xyxy: (N, 4) float64, px: left, top, right, bottom, measured from the image's upper left corner.
        classes: (N,) int64, indices into the dataset's class names.
        split: train, val or test; None while the dataset is not split yet.
        fingerprint: of its pixels, to find near duplicates; None if it was not computed yet.
    """

    path: Path
    size_wh: tuple[int, int]
    boxes_xyxy: NDArray[np.float64]
    classes: NDArray[np.int64]
    split: str | None
    fingerprint: NDArray[np.uint64] | None = None


@dataclass(frozen=True)
class Dataset:
    """Labelled images and the names of their classes, by index."""

    class_names: tuple[str, ...]
    images: tuple[LabelledImage, ...]
