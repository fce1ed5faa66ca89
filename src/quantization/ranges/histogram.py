"""What is kept of a tensor's values, however many images are seen: counts of equal bins over a fixed range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Histogram:
    """Counts of values in equal bins.

    Attributes:
        least: least value observed; the left edge of the first bin.
        greatest: greatest value observed; the right edge of the last bin.
        counts: (bins,) int64. Where least equals greatest all values are in the first bin.
    """

    least: float
    greatest: float
    counts: NDArray[np.int64]

    @property
    def edges(self) -> NDArray[np.float64]:
        """(bins + 1,) edges of the bins, ascending."""
        return np.linspace(self.least, self.greatest, len(self.counts) + 1)


def count(values: NDArray[np.float32], least: float, greatest: float, bins: int) -> NDArray[np.int64]:
    """Return how many `values` (any shape) fall into each of `bins` equal bins over [least, greatest]: (bins,) int64.

    Values outside fall into the outermost bins. numpy's own histogram gives the same where there are none, and takes
    several times as long.
    """
    width = (greatest - least) / bins
    # A subnormal width has no reciprocal.
    if width < np.finfo(np.float32).tiny:
        index = np.zeros(values.size, dtype=np.int64)
    else:
        index = ((values.ravel().astype(np.float64) - least) / width).astype(np.int64).clip(0, bins - 1)
    return np.bincount(index, minlength=bins).astype(np.int64)


def share_outside(histogram: Histogram, low: float, high: float) -> float:
    """Return the share of values, in [0, 1], that lie in bins whose middle is outside [low, high]."""
    middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    outside = (middles < low) | (middles > high)
    return float(histogram.counts[outside].sum() / histogram.counts.sum())
