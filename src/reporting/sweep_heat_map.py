"""A picture of a sweep: its value over the keys that vary, two keys per panel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from src.reporting.plots import plot

VALUE = "value"
COLUMNS = 3


def draw_sweep(jobs: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw a heat map per pair of keys that vary, or dots if only one key varies; return whether any varies.

    If further keys vary, a cell shows the best of its jobs.

    Args:
        jobs: for each finished job, its overrides by key, as text, and its `value` (higher is better).
        path: a PNG file; nothing is written if no key varies.
    """
    drawn = [job for job in jobs if job.get(VALUE) is not None]
    panels = panels_of(drawn)
    if not panels:
        return False
    columns, rows = min(len(panels), COLUMNS), math.ceil(len(panels) / COLUMNS)
    with plot(path, 5 * columns, 4 * rows) as figure:
        figure.suptitle("val mAP50-95")
        for number, keys in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, columns, number)
            if len(keys) == 1:
                _draw_dots(axes, drawn, *keys)
            else:
                _draw_heat_map(axes, drawn, *keys)
    return True


def panels_of(jobs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the pairs of keys that vary; the key if only one varies.

    >>> panels_of([{"T": "1", "alpha": "0.5", "value": 0.2}, {"T": "3", "alpha": "0.5", "value": 0.4}])
    [('T',)]
    """
    keys = [key for key in _keys(jobs) if len({job.get(key) for job in jobs}) > 1]
    return list(combinations(keys, min(2, len(keys)))) if keys else []


def best_of(jobs: Sequence[Mapping[str, Any]], across: str, down: str) -> tuple[list[str], list[str], np.ndarray]:
    """Return the settings of two keys in order, and the best value of each pair: (down, across), NaN without a job.

    >>> jobs = [{"T": "1", "alpha": "0.5", "value": 0.2}, {"T": "10", "alpha": "0.5", "value": 0.4}]
    >>> columns, rows, best = best_of(jobs, "T", "alpha")
    >>> columns, rows, best.tolist()
    (['1', '10'], ['0.5'], [[0.2, 0.4]])
    """
    columns, rows = _settings(jobs, across), _settings(jobs, down)
    best = np.full((len(rows), len(columns)), np.nan)
    for job in jobs:
        if across in job and down in job:
            cell = rows.index(job[down]), columns.index(job[across])
            best[cell] = np.fmax(best[cell], job[VALUE])
    return columns, rows, best


def _draw_heat_map(axes: Axes, jobs: Sequence[Mapping[str, Any]], across: str, down: str) -> None:
    columns, rows, best = best_of(jobs, across, down)
    axes.imshow(best, cmap="viridis", aspect="auto")
    axes.grid(visible=False)
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


def _keys(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for job in jobs for key in job if key != VALUE))


def _settings(jobs: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Return the settings of a key: numbers in ascending order, text in the order of the jobs."""
    found = list(dict.fromkeys(job[key] for job in jobs if key in job))
    try:
        return sorted(found, key=float)
    except ValueError:
        return found
