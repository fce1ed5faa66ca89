"""The accuracy of a detector on the test images that are not sealed, with what a bootstrap over images needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.detector.accuracy import validate_by_image
from src.detector.dataset import view_of
from src.detector.runtime import settle
from src.evaluation.bootstrap import Scores, score

DIGITS = 100_000
"""mAP of a draw is kept as a whole number of 1/100,000."""


@dataclass(frozen=True)
class Measured:
    """The accuracy on a split, nested as in reports, and the scores on draws of its images."""

    accuracy: dict[str, Any]
    scores: Scores


def measure(detector: Path, prepared: Path, imgsz: Any, device: str, threads: int) -> Measured:
    """Validate a detector on the test split of a prepared dataset, and score it on draws of the images.

    The draws are the same for all detectors, so two of them can be compared draw by draw.
    """
    with view_of(prepared) as data:
        accuracy, images = validate_by_image(detector, data, split="test", imgsz=imgsz, device=settle(device, threads))
    return Measured({**asdict(accuracy), "images": len(images)}, score(images))


def to_text(scores: Scores) -> str:
    """Return the draws in one line of text: numbers in a list would have a line each."""
    return " ".join(str(round(float(value) * DIGITS)) for value in scores.draws)


def from_text(map50_95: float, draws: str) -> Scores:
    """Return scores that `to_text` wrote.

    >>> from_text(0.5, "49000 51000").draws.tolist()
    [0.49, 0.51]
    """
    return Scores(map50_95, np.array([int(value) for value in draws.split()], dtype=np.float64) / DIGITS)
