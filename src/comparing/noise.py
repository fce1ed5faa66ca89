"""How far a metric moves when nothing that matters changed, as far as the reports tell it.

Accuracy: the interval that a report gives beside the metric, by a bootstrap over the test images. A report of before
intervals has none: its noise is not known. The interval knows nothing of other seeds of the training. Latency: a run of
eval-int8 holds the median and the 95th percentile of its passes. Their distance is how far that run's passes vary, and
medians of two runs that differ by less than both distances together say nothing. It is a narrow bound: processes differ
by the load of the machine as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import Any

from src.comparing.sides import ACCURACY, LATENCY, Side, is_number, value_at
from src.evaluation.speedups import SPEEDUPS

INTERVALS = {"int8_drop.vs_fp32": "differences.int8_vs_fp32"}
"""Where reports/eval_int8.json has the interval of a metric, if not beside it."""


def accuracy_noise(before: Side, now: Side, path: str) -> float | None:
    """Return the largest change of a metric of reports/eval_int8.json that is noise; None if it is not known.

    Where one side alone has an interval, it stands for both.
    """
    found = [half_width(side.reports.get(ACCURACY, {}), path) for side in (before, now)]
    known = [width for width in found if width is not None]
    return hypot(known[0], known[-1]) if known else None


def half_width(report: Mapping[str, Any], path: str) -> float | None:
    """Return half the width of the interval that holds a metric with 95%; None if the report gives none.

    >>> half_width({"teacher": {"map50_95": 0.7, "map50_95_interval": {"low": 0.68, "high": 0.72}}}, "teacher.map50_95")
    0.02
    >>> half_width({"teacher": {"map50_95": 0.7}}, "teacher.map50_95") is None
    True
    """
    interval = value_at(report, INTERVALS.get(path, f"{path}_interval"))
    low, high = (value_at(interval, end) for end in ("low", "high"))
    return round(abs(high - low) / 2, 6) if is_number(low) and is_number(high) else None


def latency_noise(before: Side, now: Side, name: str) -> float | None:
    """Return the largest change of the median of a model in reports/latency.json that is noise, ms.

    None where a report lacks the percentiles.
    """
    spreads = [_spread_ms(side, name) for side in (before, now)]
    return None if None in spreads else sum(spread for spread in spreads if spread is not None)


def speedup_noise(before: Side, now: Side, name: str) -> float | None:
    """Return the largest change of a speedup in reports/latency.json that is noise.

    The larger of its two models' spreads, relative to the median, moves the ratio: the two run in turns, so that what
    slows the machine slows both.
    """
    total = 0.0
    for side in (before, now):
        speedup = side.metric(LATENCY, f"speedup.{name}")
        medians = [side.metric(LATENCY, f"{model}.p50_ms") for model in SPEEDUPS.get(name, ())]
        spreads = [_spread_ms(side, model) for model in SPEEDUPS.get(name, ())]
        if speedup is None or not medians or None in spreads:
            return None
        relative = [spread / median for spread, median in zip(spreads, medians, strict=True) if spread and median]
        total += speedup * max(relative, default=0.0)
    return total


def _spread_ms(side: Side, name: str) -> float | None:
    """Return the distance of the 95th percentile from the median."""
    median, high = (side.metric(LATENCY, f"{name}.{percentile}") for percentile in ("p50_ms", "p95_ms"))
    return None if median is None or high is None else max(high - median, 0.0)
