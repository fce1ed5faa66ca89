"""The gate: how much mAP50-95 INT8 may lose against the same network in float."""

from __future__ import annotations


def gate_passes(drop: float, max_drop: float) -> bool:
    """Return whether a loss of mAP50-95 is at most the one that is allowed; negative is a gain."""
    return drop <= max_drop
