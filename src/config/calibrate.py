"""Settings of calibrate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.config.common import Common
from src.foundation.constraints import Range


@dataclass(kw_only=True)
class Calibrate(Common):
    """Which images are observed, and the settings of the calibrators.

    Attributes:
        images: number of training images.
        seed: chooses them.
        equalize: share out the weights' ranges between convolutions first.
        momentum: of the moving average.
        percentile: of the values that the percentile's range holds.
        bins: of each histogram. `entropy` compares with 128 levels, so with few bins it would clip nothing.
    """

    images: Annotated[int, Range(least=1)]
    seed: Annotated[int, Range(least=0)]
    equalize: bool
    momentum: Annotated[float, Range(least=0, below=1)]
    percentile: Annotated[float, Range(above=50, most=100)]
    bins: Annotated[int, Range(least=256)]
