"""The plots of the report: accuracy by class, and accuracy over latency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

AREA_PER_MIB = 30.0
"""Of a dot, in square points."""


def draw_per_class(models: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw mAP50-95 per class as bars, one colour per model.

    Args:
        models: by name, each with `per_class`: {class: {"map50_95": [0, 1]}}.
        path: a PNG file.
    """
    classes = list(dict.fromkeys(name for model in models.values() for name in model["per_class"]))
    width = 0.8 / len(models)
    figure = Figure(figsize=(max(6.0, 0.9 * len(classes) + 2), 3.5), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, model) in enumerate(models.items()):
        heights = [model["per_class"].get(label, {"map50_95": 0})["map50_95"] for label in classes]
        axes.bar(np.arange(len(classes)) + (index - (len(models) - 1) / 2) * width, heights, width, label=name)
    axes.set_xticks(np.arange(len(classes)), classes, rotation=0 if len(classes) <= 12 else 90)
    axes.set_ylabel("mAP50-95 on test")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=7, ncols=len(models), loc="upper center")
    figure.savefig(path, metadata={"Software": None})


def draw_pareto(points: Mapping[str, tuple[float, float, float]], title: str, path: Path) -> None:
    """Draw accuracy over latency, with size as the area of the dot, and the Pareto front: no dot is faster and better.

    Args:
        points: by name, (latency in ms, mAP50-95 in [0, 1], size in MiB).
        title: what all were run on.
        path: a PNG file.
    """
    figure = Figure(figsize=(9, max(4.0, 0.5 + 0.19 * len(points))), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["tab10" if len(points) <= 10 else "tab20"]
    front = pareto_front({name: (latency_ms, accuracy) for name, (latency_ms, accuracy, _) in points.items()})
    corners = [points[name][:2] for name in front]
    axes.step(*zip(*corners, strict=True), "k:", where="post", zorder=0, label="Pareto front")
    for index, (name, (latency_ms, accuracy, size_mib)) in enumerate(points.items()):
        area, label = AREA_PER_MIB * size_mib, f"{name}, {size_mib:.1f} MiB"
        colour, shape = colours(index % colours.N), "os^D"[index // colours.N % 4]  # there are more dots than colours
        axes.scatter(latency_ms, accuracy, s=area, color=colour, marker=shape, alpha=0.7, label=label)
    axes.margins(x=0.15, y=0.2)
    axes.set_xlim(left=0)
    axes.legend(fontsize=7, markerscale=0.5, loc="upper left", bbox_to_anchor=(1, 1))
    axes.set_xlabel("latency of one image, median, ms")
    axes.set_ylabel("mAP50-95 on test")
    axes.set_title(title, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names that no other beats in both, from fast to accurate.

    Args:
        points: by name, (latency, accuracy).
    """
    front: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return front
