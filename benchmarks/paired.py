"""Paired comparisons over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scipy import stats

CONFIDENCE = 0.95


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation.

    >>> spread([50.0, 52.0])
    '51.0 ± 1.4'
    """
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def difference(control: Sequence[float], other: Sequence[float]) -> str:
    """Return the mean of `other` minus `control`, paired by seed, with its t interval and whether it excludes 0.

    >>> difference([50.0, 52.0, 51.0], [51.0, 53.1, 52.0])
    '+1.0 [+0.9, +1.2], told from noise'
    """
    differences = [second - first for first, second in zip(control, other, strict=True)]
    if min(differences) == max(differences):  # such as the same settings: no interval
        return f"{differences[0]:+.1f}"
    low, high = stats.t.interval(CONFIDENCE, len(differences) - 1, statistics.mean(differences), stats.sem(differences))
    verdict = "within noise" if low <= 0 <= high else "told from noise"
    return f"{statistics.mean(differences):+.1f} [{low:+.1f}, {high:+.1f}], {verdict}"
