"""From the detections of one image to objects: detectors are fused, and classes of one object are put together.

Solovyev et al., "Weighted boxes fusion" (arXiv 1910.13302, section 3): boxes of a class that overlap become their
mean, weighted by their scores; the score is the mean of theirs, times min(T, N) / N for T boxes of N detectors, so what
few of them found counts less. Their package (ensemble-boxes) is not used: it needs a compiler of its own (numba) for
these few lines.

A detector may give an object several classes, each as a box of its own. A location of the student learns from one
object alone, so such boxes become one object with several scores. Objects that overlap are told from classes of one
object by the scores: those of one object are alternatives, and sum up to at most 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.utils.metrics import box_iou

ROUNDING = 1e-6
"""How far the sum of scores may exceed 1, since files hold few digits."""


@dataclass(frozen=True)
class Found:
    """The detections of one image, N boxes.

    Attributes:
        boxes_xyxy: (N, 4), px.
        scores: (N,), [0, 1].
        classes: (N,), indices.
        detectors: (N,), the index of the detector that found each.
    """

    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]
    detectors: NDArray[np.int64]


def objects(found: Found, number_of_classes: int, least_iou: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the objects of an image: boxes (M, 4), px, and the score of each class (M, C).

    The boxes of a single detector are not fused: it has its own way to suppress duplicates. A detector without a box in
    this image does not count as one of N, as it may never have seen the image.

    Args:
        found: the detections.
        number_of_classes: C.
        least_iou: boxes that overlap at least so much can be of one object.
    """
    detectors = len(set(found.detectors.tolist()))
    boxes, scores, classes = found.boxes_xyxy, found.scores, found.classes
    if detectors > 1:
        kinds = sorted(set(classes.tolist()))
        fused = [_fused(boxes[classes == one], scores[classes == one], detectors, least_iou) for one in kinds]
        counts = [len(part[1]) for part in fused]
        boxes, scores = (np.concatenate([part[index] for part in fused]) for index in range(2))
        classes = np.repeat(np.array(kinds, dtype=np.int64), counts)
    return _with_alternatives(boxes, scores, classes, number_of_classes, least_iou)


def _fused(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], detectors: int, least_iou: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fused boxes of one class and their scores."""
    clusters: list[list[int]] = []
    fused = np.zeros((0, 4))
    for index in np.argsort(-scores, kind="stable").tolist():
        best = _most_overlapping(boxes[index], fused, least_iou)
        if best is None:
            clusters.append([index])
            fused = np.concatenate([fused, boxes[index][None]])
        else:
            clusters[best].append(index)
            weights = scores[clusters[best]]
            fused[best] = np.average(boxes[clusters[best]], axis=0, weights=weights if weights.any() else None)
    means = [scores[cluster].mean() * min(len(cluster), detectors) / detectors for cluster in clusters]
    return fused, np.array(means)


def _with_alternatives(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    classes: NDArray[np.int64],
    number_of_classes: int,
    least_iou: float,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the best box of each object, and the scores of its classes."""
    of_object = np.zeros((0, 4))
    by_class: list[NDArray[np.float64]] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        is_open = [one[classes[index]] == 0 and one.sum() + scores[index] <= 1 + ROUNDING for one in by_class]
        candidates = np.flatnonzero(is_open)
        best = _most_overlapping(boxes[index], of_object[candidates], least_iou)
        if best is None:
            of_object = np.concatenate([of_object, boxes[index][None]])
            by_class.append(np.zeros(number_of_classes))
        by_class[-1 if best is None else candidates[best]][classes[index]] = scores[index]
    return of_object, np.array(by_class, dtype=np.float32).reshape(-1, number_of_classes)


def _most_overlapping(box: NDArray[np.float64], others: NDArray[np.float64], least_iou: float) -> int | None:
    """Return the index of the one of (M, 4) that overlaps a box most; None if none does enough."""
    if not len(others):
        return None
    overlaps = box_iou(torch.from_numpy(box[None]), torch.from_numpy(others))[0].numpy()
    best = int(overlaps.argmax())
    return best if overlaps[best] >= least_iou else None
