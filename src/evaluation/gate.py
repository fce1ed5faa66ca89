"""The gate: the loss of mAP50-95 that INT8 may have against the same network in float."""

from __future__ import annotations


def gate_passes(drop: float, max_drop: float) -> bool:
    """Return whether a loss of mAP50-95 is at most `max_drop`. A negative `drop` is a gain.

    >>> gate_passes(0.03, max_drop=0.03), gate_passes(0.031, max_drop=0.03), gate_passes(-0.01, max_drop=0.03)
    (True, False, True)
    """
    return drop <= max_drop
