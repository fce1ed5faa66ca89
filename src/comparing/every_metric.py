"""Every metric of every report that changed, for those who look closer. Nothing is coloured here: no noise is known."""

from __future__ import annotations

from src.comparing.changes import Change, Meaning, present
from src.comparing.conditions import other_conditions, runtime_of
from src.comparing.sides import ACCURACY, LATENCY, Side, flat, is_number

MEASURED = ("p50_ms", "p95_ms", "energy_mj")
"""What depends on the machine in reports/latency.json, besides speedups."""


def changed_metrics(before: Side, now: Side) -> list[Change]:
    """Return all metrics that changed, are new or gone: accuracy on test first, then the stages, then timings."""
    found = []
    for report in sorted(before.reports.keys() | now.reports.keys(), key=_rank):
        old, new = (
            {k: v for k, v in flat(side.reports.get(report, {})).items() if is_number(v)} for side in (before, now)
        )
        for metric in sorted(old.keys() | new.keys()):
            verdict = present(old.get(metric), new.get(metric)) or _verdict(before, now, report, metric)
            if verdict != Meaning.SAME:
                found.append(Change(metric, report, metric, old.get(metric), new.get(metric), verdict))
    return found


def _verdict(before: Side, now: Side, report: str, metric: str) -> Meaning:
    timed = report == LATENCY and (metric.endswith(MEASURED) or metric.startswith("speedup."))
    if timed and other_conditions(before, now, runtime_of(metric)):
        return Meaning.NOT_COMPARED
    return Meaning.CHANGED


def _rank(report: str) -> tuple[int, str]:
    return {ACCURACY: 0, LATENCY: 2}.get(report, 1), report
