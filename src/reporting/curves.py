"""A metric over a param: a dot per experiment, a line through the means."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from src.reporting.plots import label, plot


class Point(NamedTuple):
    """An experiment. Points of one `line` belong together."""

    x: float
    y: float
    line: str = ""


def draw_curves(points: Sequence[Point], x: str, y: str, by: str | None, path: Path) -> None:
    """Draw a line per value of `by`, from left to right through the means of the experiments with the same x.

    Args:
        points: at least one.
        x, y: the names of the axes.
        by: the title of the legend; None: there is one line.
        path: a PNG file.
    """
    with plot(path, 6, 4) as figure:
        axes = figure.add_subplot(xlabel=label(x), ylabel=label(y))
        for index, line in enumerate(sorted({point.line for point in points})):
            own = [point for point in points if point.line == line]
            means = means_of(own)
            axes.plot(*zip(*means, strict=True), color=f"C{index}", label=label(line))
            axes.plot([point.x for point in own], [point.y for point in own], "o", color=f"C{index}", alpha=0.6)
        if by is not None:
            axes.legend(title=label(by))


def means_of(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the mean y of each x, by x.

    >>> means_of([Point(1.0, 0.6), Point(0.5, 0.4), Point(1.0, 0.8)])
    [(0.5, 0.4), (1.0, 0.7)]
    """
    ordered = sorted(points)
    return [(x, round(mean(point.y for point in same), 6)) for x, same in groupby(ordered, key=lambda point: point.x)]
