"""From the detections of images to the boxes and scores that a training learns from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from src.detector.added_boxes import MOST_NUMBERS, NumberedBoxes
from src.foundation.errors import SettingError
from src.teaching.box_fusion import Found, objects
from src.teaching.predicted_boxes import PredictedBoxes


def predicted_boxes(
    labelled: Mapping[str, Found], unlabelled: Mapping[str, Found], number_of_classes: int, least_iou: float
) -> PredictedBoxes:
    """Return the boxes of the training images, numbered in the order of these images.

    Args:
        labelled: the detections of images with labels, by the name of the image's file in the training.
        unlabelled: of images without labels.
        number_of_classes: of the dataset.
        least_iou: see `objects`.

    Raises:
        SettingError: there are more boxes than a training can number.
    """
    scores: list[NDArray[np.float32]] = [np.eye(number_of_classes, dtype=np.float32)]
    first = number_of_classes

    def numbered(images: Mapping[str, Found]) -> dict[str, NumberedBoxes]:
        nonlocal first
        boxes_of = {}
        for name, found in images.items():
            boxes, by_class = objects(found, number_of_classes, least_iou)
            boxes_of[name] = NumberedBoxes(boxes, np.arange(first, first + len(boxes)))
            scores.append(by_class)
            first += len(boxes)
        return boxes_of

    predicted = numbered(labelled), numbered(unlabelled)
    if first + number_of_classes > MOST_NUMBERS:
        raise SettingError(
            "teaching.min_score",
            f"must be higher: {first - number_of_classes} boxes are more than a training can number",
        )
    return PredictedBoxes(np.concatenate(scores), *predicted)
