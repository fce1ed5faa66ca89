"""The range with the least mean squared error: what is cut off on one side, how coarse the grid gets on the other.

Banner et al., Post-training 4-bit quantization of convolution networks for rapid-deployment (ACIQ, arXiv 1810.05723,
section 3): a value inside is off by a uniform rounding error of variance S^2 / 12, a value outside by its distance to
the end of the range. They integrate over a fitted density for a symmetric range; here the histogram itself is summed,
and either end is searched for itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.quantization.ranges.histogram import Histogram

STEPS = 255
"""Of the grid of eight bits."""


def mse_range(histogram: Histogram) -> tuple[float, float]:
    """Return (low, high), ends of bins that hold zero between them, with the least expected squared error.

    One end is searched while the other stays, in turns, until neither moves: the error falls with every move.

    Raises:
        ValueError: the histogram is empty.
    """
    if histogram.counts.sum() == 0:
        raise ValueError("a histogram without values has no error")
    edges, total = histogram.edges, histogram.counts.sum()
    below, above = _clipping_errors(histogram)
    # Zero itself may be an end, where all values lie to one side of it.
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
