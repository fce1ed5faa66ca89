"""From the output of a network to the detections in an image: the score's threshold and non-maximum suppression.

The same rules as in ultralytics' predictor, without torch. OpenCV computes the suppression, in float64; ultralytics
computes it in float32 with classes moved apart by 7680 px, so a pair of boxes whose IoU is the threshold to five digits
may end otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from src.deployment.letterbox import Placement

MOST_DETECTIONS = 300
"""Of an image; ultralytics' own limit."""


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


def read_output(output: NDArray[np.float32], placement: Placement, score: float, iou: float) -> Detections:
    """Return what a network found in an image, best score first.

    Boxes without area are left out; only untrained networks have them.

    Args:
        output: (1, 4 + classes, locations): box centre, width and height in px of the input, then a score per class.
        placement: of the image in the input.
        score: detections have a higher one, [0, 1].
        iou: of two boxes of a class that overlap more, the better one is kept, [0, 1].
    """
    columns = output[0]
    likely = columns[:, (columns[4:].max(axis=0) > score) & (columns[2:4] > 0).all(axis=0)].astype(np.float64)
    centres, sizes = likely[:2].T, likely[2:4].T
    corners = centres - sizes / 2
    classes, scores = likely[4:].argmax(axis=0), likely[4:].max(axis=0)
    # OpenCV moves classes apart by the largest coordinate, which keeps them apart if none is negative.
    moved = np.concatenate([corners - corners.min(axis=0, initial=0), sizes], axis=1)
    best = cv2.dnn.NMSBoxesBatched(moved.tolist(), scores.tolist(), classes.tolist(), score, iou)
    kept = np.array(best, dtype=np.intp)[:MOST_DETECTIONS]
    boxes_xyxy = np.concatenate([corners, corners + sizes], axis=1)
    return Detections(placement.to_image(boxes_xyxy[kept]), scores[kept], classes[kept])
