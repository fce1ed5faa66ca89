"""The agreement of two detectors, image by image. It needs no annotations.

On a small test set, mAP moves by tenths of a point by chance, and a gain in one class hides a loss in another. The
agreement in each image shows whether a quantized detector still finds the same objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_IOU = 0.5
"""Two detections of one class with at least this IoU are the same: the threshold of the report and of the demo."""


@dataclass(frozen=True)
class Detections:
    """The detections of one image.

    Attributes:
        boxes_xyxy: (N, 4), px of the original image.
        scores: (N,), [0, 1].
        classes: (N,), indices.
    """

    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """How two sets of detections of one image compare.

    Attributes:
        share: of the detections of both sets, the share that has a partner, in [0, 1]; 1 if both sets are empty.
        ious: (M,), the IoU of each of the M pairs.
        alone: indices of the detections without a partner, of the first set and of the second.
    """

    share: float
    ious: NDArray[np.float64]
    alone: tuple[frozenset[int], frozenset[int]]

    @property
    def mean_iou(self) -> float | None:
        """Mean IoU of the pairs; None if there are no pairs."""
        return float(self.ious.mean()) if len(self.ious) else None


def compare(first: Detections, second: Detections, least_iou: float) -> Agreement:
    """Pair detections of the same class with an IoU of at least `least_iou`: best IoU first, each at most once."""
    overlaps = iou(first.boxes_xyxy, second.boxes_xyxy)
    overlaps[first.classes[:, None] != second.classes[None, :]] = 0
    ious = []
    alone = set(range(len(first.scores))), set(range(len(second.scores)))
    while overlaps.size and overlaps.max() >= least_iou:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        ious.append(overlaps[row, column])
        overlaps[row, :] = 0
        overlaps[:, column] = 0
        alone[0].remove(int(row))
        alone[1].remove(int(column))
    found = len(first.scores) + len(second.scores)
    return Agreement(
        share=2 * len(ious) / found if found else 1.0,
        ious=np.array(ious, dtype=np.float64),
        alone=(frozenset(alone[0]), frozenset(alone[1])),
    )


def iou(first_xyxy: NDArray[np.float64], second_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of every box of (N, 4) with every box of (M, 4): (N, M), [0, 1].

    The IoU of two boxes without area is 0.

    >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[0.0, 0.0, 2.0, 1.0], [5.0, 5.0, 6.0, 6.0]])).tolist()
    [[0.5, 0.0]]
    """
    upper_left = np.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    lower_right = np.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    intersection = (lower_right - upper_left).clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first_xyxy, second_xyxy)]
    union = areas[0][:, None] + areas[1][None, :] - intersection
    overlaps: NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return overlaps


def worst_first(agreements: dict[str, Agreement]) -> list[str]:
    """Return the names of the images, least agreement first: sorted by share, then mean IoU, then name."""

    def key(name: str) -> tuple[float, float, str]:
        mean_iou = agreements[name].mean_iou
        return agreements[name].share, 1.0 if mean_iou is None else mean_iou, name

    return sorted(agreements, key=key)


def summarize(agreements: dict[str, Agreement]) -> dict[str, float | int | None]:
    """Return the mean share over images, the mean IoU over pairs, and the number of images in full agreement."""
    ious = np.concatenate([agreement.ious for agreement in agreements.values()])
    return {
        "images": len(agreements),
        "share_matched": round(float(np.mean([agreement.share for agreement in agreements.values()])), 6),
        "mean_matched_iou": round(float(ious.mean()), 6) if len(ious) else None,
        "images_in_full_agreement": sum(agreement.share == 1 for agreement in agreements.values()),
    }
