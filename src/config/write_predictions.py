"""Settings of write_predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.config.common import Common
from src.foundation.constraints import Range


@dataclass(kw_only=True)
class WritePredictions(Common):
    """Whose boxes are written.

    Attributes:
        model: a .pt file of this project.
        folder: of images without labels, besides those that were set aside.
        score: boxes have a higher one.
        iou: of two boxes of a class that overlap more, the better one is kept.
    """

    model: str
    folder: str
    score: Annotated[float, Range(least=0, below=1)]
    iou: Annotated[float, Range(least=0, most=1)]
