"""Set the labels of a part of the training images aside, to see how many labels a detector needs.

The images stay, without labels: a student can learn from its teacher's answers to them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from src.foundation.prepared import UNLABELLED
from src.labels.dataset import Dataset, LabelledImage
from src.labels.splitting import class_table, stratify


def set_labels_aside(dataset: Dataset, label_fraction: float, seed: int) -> Dataset:
    """Return the dataset in which a share of the training images keeps its labels.

    The others get the split `unlabelled` and lose their boxes. Every class keeps its share of labelled images, as far
    as whole images allow. Val and test are not changed.

    Args:
        dataset: every image has a split.
        label_fraction: share of the training images that keep their labels, in (0, 1]; at least one image does.
        seed: of the choice.
    """
    train = [index for index, image in enumerate(dataset.images) if image.split == "train"]
    if label_fraction == 1 or len(train) < 2:
        return dataset
    chosen = stratify(class_table(dataset, train), [label_fraction, 1 - label_fraction], seed)
    images = list(dataset.images)
    for index, part in zip(train, chosen, strict=True):
        if part == 1:
            images[index] = _without_labels(images[index])
    return replace(dataset, images=tuple(images))


def _without_labels(image: LabelledImage) -> LabelledImage:
    return replace(
        image, split=UNLABELLED, boxes_xyxy=np.zeros((0, 4), np.float64), classes=np.zeros(0, dtype=np.int64)
    )
