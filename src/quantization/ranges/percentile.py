"""The range that holds the given percentage of all values and cuts the rest off, half of it at either end.

A few outliers are clipped to make the grid finer for everything else. Resolution is that of the histogram: a tail is
cut in whole bins, and never more of it than asked.
"""

from __future__ import annotations

import numpy as np

from src.quantization.ranges.histogram import Histogram


def percentile_range(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """Return (low, high) such that at most (100 - percentile) / 2 percent of the values lie beyond either end.

    Zero is always inside: the grid must represent it exactly.

    Args:
        histogram: of one tensor's values.
        percentile: of the values that stay inside, in (50, 100]; 100 cuts nothing off.

    Raises:
        ValueError: `percentile` is out of range, or the histogram is empty.
    """
    if not 50 < percentile <= 100:
        raise ValueError(f"percentile must be in (50, 100], got {percentile}")
    total = int(histogram.counts.sum())
    if total == 0:
        raise ValueError("a histogram without values has no percentiles")
    may_be_cut = total * (100 - percentile) / 200
    from_left = np.cumsum(histogram.counts)
    from_right = np.cumsum(histogram.counts[::-1])
    # The first bin that cannot be cut off whole is kept.
    kept_from = int(np.argmax(from_left > may_be_cut))
    kept_until = len(histogram.counts) - int(np.argmax(from_right > may_be_cut))
    edges = histogram.edges
    return min(float(edges[kept_from]), 0.0), max(float(edges[kept_until]), 0.0)
