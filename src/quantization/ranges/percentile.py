"""The percentile calibrator: the range that holds a percentage of all values and clips half of the rest at either end.

A few outliers are clipped, so that the grid is finer for all other values. The resolution is one bin of the histogram:
only whole bins are clipped, and never more values than requested.
"""

from __future__ import annotations

import numpy as np

from src.quantization.ranges.histogram import Histogram


def percentile_range(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """Return (low, high), with at most (100 - percentile) / 2 percent of the values beyond either end.

    Zero is always inside: the grid must represent it exactly.

    Args:
        histogram: histogram of one tensor's values.
        percentile: percentage of the values that stay inside, in (50, 100]; 100 clips nothing.

    Raises:
        ValueError: `percentile` is out of range, or the histogram is empty.

    >>> percentile_range(Histogram(-5, 5, np.array([1, 9, 80, 9, 1])), percentile=98)
    (-3.0, 3.0)
    """
    if not 50 < percentile <= 100:
        raise ValueError(f"percentile must be in (50, 100], got {percentile}")
    total = int(histogram.counts.sum())
    if total == 0:
        raise ValueError("a histogram without values has no percentiles")
    clippable = total * (100 - percentile) / 200
    from_left = np.cumsum(histogram.counts)
    from_right = np.cumsum(histogram.counts[::-1])
    # The first bin that cannot be clipped as a whole is kept.
    kept_from = int(np.argmax(from_left > clippable))
    kept_until = len(histogram.counts) - int(np.argmax(from_right > clippable))
    edges = histogram.edges
    return min(float(edges[kept_from]), 0.0), max(float(edges[kept_until]), 0.0)
