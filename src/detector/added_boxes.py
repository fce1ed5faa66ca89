"""Boxes beside the labels of images: a training augments them exactly as it augments the labels.

A box has a number instead of a class, so its loss can look up whatever belongs to it. Within ultralytics' dataset the
number is written as a class beyond those of the dataset. None of its augmentations draws other random numbers for more
boxes, so the labels come out as they do without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_NUMBERS = 2**24
"""A number is a float32 in ultralytics' labels, which holds whole numbers up to this."""


@dataclass(frozen=True)
class NumberedBoxes:
    """The boxes of one image.

    Attributes:
        boxes_xyxy: (N, 4), px of the image.
        numbers: (N,), each in [0, MOST_NUMBERS - number of classes).
    """

    boxes_xyxy: NDArray[np.float64]
    numbers: NDArray[np.int64]


AddedBoxes = Mapping[str, NumberedBoxes]
"""The boxes of images, by the name of the image's file."""


def add_boxes(dataset: Any, boxes: AddedBoxes, classes: int) -> None:
    """Add boxes to the images of ultralytics' dataset.

    An image without boxes gets its own labels as such: the number of each is its class.

    Args:
        dataset: it is changed.
        boxes: of its images.
        classes: number of classes of the dataset.
    """
    for label in dataset.labels:
        given = boxes.get(Path(label["im_file"]).name)
        if given is None:
            numbers, fractions = label["cls"], label["bboxes"]
        else:
            numbers, fractions = given.numbers[:, None], _fractions(given.boxes_xyxy, label["shape"])
        label["cls"] = np.concatenate([label["cls"], classes + numbers]).astype(np.float32)
        label["bboxes"] = np.concatenate([label["bboxes"], fractions]).astype(np.float32)


def parted(batch: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """Return a batch with its labels alone, and under `added` the rows of the other boxes.

    Args:
        batch: ultralytics' training batch of a dataset with added boxes.
        classes: number of classes of the dataset.

    Returns:
        the batch; `added` has `batch_idx` (N,), `bboxes` (N, 4) as fractions of the sides, centre first, and `numbers`
        (N,).
    """
    is_added = batch["cls"].flatten() >= classes
    rows = {key: batch[key] for key in ("batch_idx", "cls", "bboxes")}
    added = {key: values[is_added] for key, values in rows.items()}
    added["numbers"] = added.pop("cls").flatten().long() - classes
    return {**batch, **{key: values[~is_added] for key, values in rows.items()}, "added": added}


def _fractions(boxes_xyxy: NDArray[np.float64], shape_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Return boxes as centre, width and height, in fractions of the image's sides."""
    left_top, right_bottom = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    centred = np.concatenate([(left_top + right_bottom) / 2, right_bottom - left_top], axis=1)
    fractions: NDArray[np.float64] = centred / np.array([shape_hw[1], shape_hw[0]] * 2)
    return fractions
