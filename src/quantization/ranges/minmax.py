"""The range that cuts nothing off: from the least to the greatest value observed.

No value is clipped, but one outlier coarsens the grid for all. It measured best on BCCD, before percentile and entropy.
"""

from __future__ import annotations

from src.quantization.ranges.histogram import Histogram


def minmax_range(histogram: Histogram) -> tuple[float, float]:
    """Return (low, high): all that was observed, widened to hold zero."""
    return min(histogram.least, 0.0), max(histogram.greatest, 0.0)
