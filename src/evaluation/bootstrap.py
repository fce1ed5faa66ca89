"""The interval of a difference of mAP50-95 between two detectors on the same images: a paired bootstrap over images.

Images are drawn with replacement, as many as there are, and both detectors are scored on each draw. The middle 95% of
the differences is the interval (percentile bootstrap; Efron, doi:10.1214/aos/1176344552). It tells how much a
difference depends on which images happen to be in the split. It knows nothing of another seed of the training.

mAP50-95 of a draw is ultralytics': an image that is drawn twice counts twice. The curve of precision over recall is a
staircase whose steps end at the correct detections, so these suffice; the other detections are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.detector.accuracy import ImageMatches

DRAWS, SEED, CONFIDENCE = 1000, 0, 0.95
"""A thousand draws settle the ends of an interval to about a tenth of its width."""

QUANTILES = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
"""The ends of an interval."""

BLOCK = 50
"""Draws that are scored at once: more need more memory."""

RECALLS = 100
"""Precision is read at recall 0, 1/100 to 1, as in COCO; ultralytics counts the first and the last half."""


@dataclass(frozen=True)
class Difference:
    """A difference of mAP50-95, and the interval that holds 95% of its draws.

    >>> Difference(0.02, -0.01, 0.05).is_noise, Difference(0.02, 0.01, 0.03).is_noise
    (True, False)
    """

    gained: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether the interval includes 0: other images could reverse the difference."""
        return self.low <= 0 <= self.high


def difference(before: Scores, after: Scores) -> Difference:
    """Return what `after` gained over `before`. Both were scored on the same draws."""
    draws = after.draws - before.draws
    low, high = np.quantile(draws, QUANTILES)
    return Difference(*(round(float(value), 6) for value in (after.map50_95 - before.map50_95, low, high)))


@dataclass(frozen=True)
class Scores:
    """mAP50-95 of a detector on the images of a split, and on each draw of them: (DRAWS,), [0, 1]."""

    map50_95: float
    draws: NDArray[np.float64]

    @property
    def interval(self) -> dict[str, float]:
        """The ends of the interval that holds 95% of the draws."""
        low, high = np.quantile(self.draws, QUANTILES)
        return {"low": round(float(low), 6), "high": round(float(high), 6)}


def score(images: Sequence[ImageMatches]) -> Scores:
    """Score a detector on a split and on its draws, which are the same for every detector.

    Args:
        images: the matches of every image of the split, in the same order for every detector.
    """
    random = np.random.default_rng(SEED)
    count = len(images)
    drawn = [np.bincount(random.integers(count, size=count), minlength=count) for _ in range(DRAWS)]
    blocks = [map50_95(images, np.stack(drawn[start : start + BLOCK])) for start in range(0, DRAWS, BLOCK)]
    whole = map50_95(images, np.ones((1, count), dtype=np.int64))
    return Scores(float(whole[0]), np.concatenate(blocks))


def map50_95(images: Sequence[ImageMatches], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mAP50-95 of each draw: (D,), the mean over the classes that it has boxes of; 0 if it has none.

    Args:
        images: of a split.
        drawn: (D, N), how often each of the N images is in a draw.
    """
    image_of_box = np.repeat(np.arange(len(images)), [len(image.labelled) for image in images])
    image_of_detection = np.repeat(np.arange(len(images)), [len(image.scores) for image in images])
    labelled = np.concatenate([image.labelled for image in images])
    scores, classes, correct = (
        np.concatenate([getattr(image, name) for image in images]) for name in ("scores", "classes", "correct")
    )
    order = np.argsort(-scores, kind="stable")
    total, occurring = np.zeros(len(drawn)), np.zeros(len(drawn))
    for one in np.unique(labelled):
        boxes = drawn[:, image_of_box[labelled == one]].sum(axis=1)
        ranked = order[classes[order] == one]
        total += _average_precision(drawn[:, image_of_detection[ranked]], correct[ranked], boxes)
        occurring += boxes > 0
    return total / np.maximum(occurring, 1)


def _average_precision(
    drawn: NDArray[np.int64], correct: NDArray[np.bool_], boxes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the average precision of each draw on a class, the mean over the IoUs: (D,); 0 for a draw without boxes.

    Args:
        drawn: (D, N), how often each of the N detections of the class is in a draw, the highest score first.
        correct: (N, IoUs), whether each matches a box.
        boxes: (D,), number of boxes of the class in each draw.
    """
    ranks = drawn.cumsum(axis=1)
    total = np.zeros(len(drawn))
    for matched in correct.T:
        places = np.flatnonzero(matched)
        found = drawn[:, places].cumsum(axis=1)
        precision = found / np.maximum(ranks[:, places], 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # In whole numbers, as recall 7/100 and the seventh of 100 recalls differ in float.
        below = -(-RECALLS * found // np.maximum(boxes, 1)[:, None])  # number of recalls i/100 below each place
        read = np.maximum(below - 0.5, 0)
        total += (envelope * np.diff(read, axis=1, prepend=0)).sum(axis=1) / RECALLS
    return total / correct.shape[1]
