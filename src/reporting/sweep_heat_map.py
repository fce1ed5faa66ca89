"""A sweep at a glance: its value over the keys that were varied, two at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

VALUE = "value"


def draw_sweep(jobs: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Return a heat map per pair of keys that vary, dots where one key varies, None where there is nothing to draw.

    Where further keys vary, a cell shows the best of its jobs.

    Args:
        jobs: of each that finished, its overrides as text by key, and its `value` (more is better).
    """
    drawn = [job for job in jobs if job.get(VALUE) is not None]
    keys = [key for key in _keys(drawn) if len({job.get(key) for job in drawn}) > 1]
    if not keys:
        return None
    pairs = list(combinations(keys, 2))
    panels = max(1, len(pairs))
    figure = Figure(figsize=(5 * min(panels, 3), 4 * math.ceil(panels / 3)), dpi=100, layout="constrained")
    figure.suptitle("val mAP50-95")
    if not pairs:
        _draw_dots(figure.add_subplot(), drawn, keys[0])
    for place, (across, down) in enumerate(pairs):
        _draw_heat_map(figure.add_subplot(math.ceil(panels / 3), min(panels, 3), place + 1), drawn, across, down)
    return figure


def best_of(jobs: Sequence[Mapping[str, Any]], across: str, down: str) -> tuple[list[str], list[str], np.ndarray]:
    """Return the settings of two keys in order, and the best value of each pair: (down, across), NaN where none is."""
    columns, rows = _settings(jobs, across), _settings(jobs, down)
    best = np.full((len(rows), len(columns)), np.nan)
    for job in jobs:
        if across in job and down in job:
            place = rows.index(job[down]), columns.index(job[across])
            best[place] = np.fmax(best[place], job[VALUE])
    return columns, rows, best


def _draw_heat_map(axes: Axes, jobs: Sequence[Mapping[str, Any]], across: str, down: str) -> None:
    columns, rows, best = best_of(jobs, across, down)
    axes.imshow(best, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    middle = (np.nanmin(best) + np.nanmax(best)) / 2
    for (row, column), value in np.ndenumerate(best):
        if not np.isnan(value):
            winner = value == np.nanmax(best)
            axes.text(
                column,
                row,
                f"{value:.4f}",
                ha="center",
                va="center",
                color="white" if value < middle else "black",
                weight="bold" if winner else "normal",
            )


def _draw_dots(axes: Axes, jobs: Sequence[Mapping[str, Any]], key: str) -> None:
    settings = _settings(jobs, key)
    axes.plot([settings.index(job[key]) for job in jobs if key in job], [j[VALUE] for j in jobs if key in j], "o")
    axes.set_xticks(range(len(settings)), settings)
    axes.set_xlabel(key)
    axes.grid(alpha=0.3)


def _keys(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for job in jobs for key in job if key != VALUE))


def _settings(jobs: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Return the settings of a key, numbers by size, text as it came."""
    found = list(dict.fromkeys(job[key] for job in jobs if key in job))
    try:
        return sorted(found, key=float)
    except ValueError:
        return found
