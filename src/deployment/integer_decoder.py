"""Boxes and scores from the integer outputs of a detector, with numpy alone: to run, or to translate, beside an NPU.

The integer graph ends where the head's convolutions end. Per level (a grid of H x W locations, `stride` px apart) it
has two outputs of 8-bit integers, each on a grid of its own: x = scale (q - zero_point).

- `boxes` (1, 4 bins, H, W): for each of the sides left, top, right, bottom a distribution over 0, 1, ..., bins - 1, as
  logits. The distance from the location's centre to the side is its expectation after a softmax, times `stride`
  ("Generalized Focal Loss", arXiv 2006.04388, equation 4). With one bin (YOLO26) the value is the distance itself.
- `classes` (1, classes, H, W): logits. A score is their sigmoid.

Non-maximum suppression comes afterwards, as for every other file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDES = 4
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Grid:
    """The 8-bit grid of an output: its name, and what an integer q stands for, scale (q - zero_point)."""

    name: str
    scale: float
    zero_point: int

    def values(self, integers: NDArray[Any]) -> NDArray[np.float32]:
        """Return the numbers that integers stand for.

        >>> Grid("boxes_8", scale=0.5, zero_point=128).values(np.array([127, 130], dtype=np.uint8)).tolist()
        [-0.5, 1.0]
        """
        return (integers.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


@dataclass(frozen=True)
class Level:
    """A level of the head: the distance of its locations in px, and its two outputs."""

    stride: int
    boxes: Grid
    classes: Grid


def levels_from(rows: Sequence[Mapping[str, Any]]) -> list[Level]:
    """Return the levels that a model card lists under `levels`, or an integer file in its metadata."""
    return [Level(int(row["stride"]), Grid(**row["boxes"]), Grid(**row["classes"])) for row in rows]


def decode(outputs: Mapping[str, NDArray[Any]], levels: Sequence[Level]) -> NDArray[np.float32]:
    """Return boxes and scores of an image from the integers of all levels.

    Args:
        outputs: by name: (1, 4 bins, H, W) and (1, classes, H, W) per level.
        levels: in the order in which their locations are wanted, the smallest stride first.

    Returns:
        (1, 4 + classes, locations): box centre, width and height in px of the network's input, then a score in [0, 1]
        per class, as the file with a float head returns them.
    """
    decoded = [
        decode_level(
            level.boxes.values(outputs[level.boxes.name]),
            level.classes.values(outputs[level.classes.name]),
            level.stride,
        )
        for level in levels
    ]
    return np.concatenate(decoded, axis=2)


def decode_level(boxes: NDArray[np.float32], classes: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Return boxes and scores of one level as `decode` does, from logits (1, 4 bins, H, W) and (1, classes, H, W)."""
    _, channels, height, width = boxes.shape
    distances = _expectations(boxes.reshape(SIDES, channels // SIDES, height * width))
    centres_xy = np.stack(
        [
            np.tile(np.arange(width, dtype=np.float32) + 0.5, height),
            np.repeat(np.arange(height, dtype=np.float32) + 0.5, width),
        ]
    )
    upper_left, lower_right = centres_xy - distances[:2], centres_xy + distances[2:]
    boxes_xywh = np.concatenate([(upper_left + lower_right) / 2, lower_right - upper_left]) * np.float32(stride)
    scores = _sigmoid(classes.reshape(classes.shape[1], height * width))
    return np.concatenate([boxes_xywh, scores])[None].astype(np.float32, copy=False)


def _expectations(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the expectation over bins, (4, locations), of logits (4, bins, locations)."""
    bins = logits.shape[1]
    if bins == 1:
        return logits[:, 0]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    values = np.arange(bins, dtype=np.float32)[None, :, None]
    expectations: NDArray[np.float32] = (powers * values).sum(axis=1) / powers.sum(axis=1)
    return expectations


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    # Of the magnitude, so that exp cannot overflow.
    power = np.exp(-np.abs(x))
    score: NDArray[np.float32] = np.where(x >= 0, np.float32(1), power) / (1 + power)
    return score
