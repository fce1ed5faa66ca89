"""Pictures of a search: the value of each trial, and the importance of each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from src.reporting.plots import CONTROL, plot


def draw_history(trials: Sequence[tuple[int, float]], path: Path) -> bool:
    """Draw the value of each finished trial and the best so far; return whether there is any.

    Args:
        trials: number and val mAP50-95 of each, in order.
        path: a PNG file; nothing is written if no trial finished.
    """
    if not trials:
        return False
    numbers, values = zip(*trials, strict=True)
    with plot(path, 6, 4) as figure:
        axes = figure.add_subplot()
        axes.plot(numbers, values, "o", color=CONTROL, label="trial")
        axes.step(numbers, list(accumulate(values, max)), where="post", label="best so far")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trial")
        axes.set_ylabel("val mAP50-95")
        axes.legend()
    return True


def draw_importances(importances: Mapping[str, float], path: Path) -> bool:
    """Draw the importance of each parameter, the largest on top; return whether there is any.

    Args:
        importances: share of each parameter, in [0, 1].
        path: a PNG file; nothing is written without importances.
    """
    if not importances:
        return False
    ranked = sorted(importances.items(), key=lambda item: item[1])
    names, shares = zip(*ranked, strict=True)
    with plot(path, 6, 1 + 0.4 * len(names)) as figure:
        axes = figure.add_subplot()
        bars = axes.barh(names, shares)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.set_xlim(0, 1.1)
        axes.set_xlabel("importance for val mAP50-95 (PED-ANOVA)")
    return True
