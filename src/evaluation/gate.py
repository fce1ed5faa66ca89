"""The gates: what INT8 may lose against the same network in float, and what it has to reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gates:
    """The limits of INT8 on test, of mAP50-95 in [0, 1].

    Attributes:
        max_drop: largest loss against FP32.
        min_map50_95: smallest accuracy; None: no limit.
        min_class_map50_95: smallest accuracy on each class; None: no limit.
    """

    max_drop: float
    min_map50_95: float | None = None
    min_class_map50_95: float | None = None


def gate_passes(drop: float, max_drop: float) -> bool:
    """Return whether a loss of mAP50-95 is at most `max_drop`. A negative `drop` is a gain.

    >>> gate_passes(0.03, max_drop=0.03), gate_passes(0.031, max_drop=0.03), gate_passes(-0.01, max_drop=0.03)
    (True, False, True)
    """
    return drop <= max_drop
