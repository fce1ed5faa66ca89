"""The MSE calibrator: the range with the least mean squared error, from clipping and from rounding.

Banner et al., Post-training 4-bit quantization of convolution networks for rapid-deployment (ACIQ, arXiv 1810.05723,
section 3): a value inside the range has a uniform rounding error of variance S^2 / 12; the error of a value outside is
its distance to the end of the range. They integrate over a fitted density for a symmetric range. Here the errors are
summed over the histogram, and each end is searched separately.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.quantization.ranges.histogram import Histogram

STEPS = 255
"""Number of steps of an 8-bit grid."""


def mse_range(histogram: Histogram) -> tuple[float, float]:
    """Return (low, high) with the least expected squared error. Both are edges of bins or zero, and low <= 0 <= high.

    One end is searched while the other is fixed, in turns, until neither moves. The error falls with every move, so the
    search ends.

    Raises:
        ValueError: the histogram is empty.
    """
    if histogram.counts.sum() == 0:
        raise ValueError("a histogram without values has no error")
    edges, total = histogram.edges, histogram.counts.sum()
    below, above = _clipping_errors(histogram)
    # Zero itself is an end if all values lie on one side of it.
    lows, below = np.append(edges[edges < 0], 0.0), np.append(below[edges < 0], _beyond_zero(histogram, -1))
    highs, above = np.append(0.0, edges[edges > 0]), np.append(_beyond_zero(histogram, 1), above[edges > 0])
    low, high = 0, len(highs) - 1
    while True:
        before = (low, high)
        low = int(np.argmin(below + total * ((highs[high] - lows) / STEPS) ** 2 / 12))
        high = int(np.argmin(above + total * ((highs - lows[low]) / STEPS) ** 2 / 12))
        if (low, high) == before:
            return float(lows[low]), float(highs[high])


def _clipping_errors(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the summed squared distance to each edge of all values below it, and of all values above it.

    A sum of c (x - e)^2 over the bins on one side of e is S2 - 2 e S1 + e^2 S0, with the running sums of c x^k.
    """
    edges, counts = histogram.edges, histogram.counts.astype(np.float64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.zeros(len(edges))
    above = np.zeros(len(edges))
    for power, factor in ((2, np.ones(len(edges))), (1, -2 * edges), (0, edges**2)):
        sums = np.append(0.0, np.cumsum(counts * middles**power))
        below += factor * sums
        above += factor * (sums[-1] - sums)
    return below.clip(0), above.clip(0)


def _beyond_zero(histogram: Histogram, side: int) -> float:
    """Return the summed squares of all values below (side -1) or above zero (side 1)."""
    middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    return float((histogram.counts * np.maximum(side * middles, 0) ** 2).sum())
