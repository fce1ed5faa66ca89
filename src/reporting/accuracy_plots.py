"""The plots of the report: accuracy by class, and accuracy over latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from adjustText import adjust_text

from src.foundation.image_size import size_in_words
from src.reporting.plots import CONTROL, label, plot

AREA_PER_MIB = 30.0
"""Area of a dot per MiB of the model, in square points."""


def draw_per_class(models: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw mAP50-95 per class as bars, one colour per model.

    Args:
        models: by name, each with `per_class`: {class: {"map50_95": [0, 1]}}.
        path: a PNG file.
    """
    classes = list(dict.fromkeys(name for model in models.values() for name in model["per_class"]))
    width = 0.8 / len(models)
    with plot(path, max(6.0, 0.9 * len(classes) + 2), 3.5) as figure:
        axes = figure.add_subplot()
        for index, (name, model) in enumerate(models.items()):
            heights = [model["per_class"].get(one, {"map50_95": 0})["map50_95"] for one in classes]
            axes.bar(np.arange(len(classes)) + (index - (len(models) - 1) / 2) * width, heights, width, label=name)
        axes.set_xticks(
            np.arange(len(classes)), [label(one) for one in classes], rotation=0 if len(classes) <= 12 else 90
        )
        axes.set_ylabel("mAP50-95 on test")
        axes.set_ylim(0, 1)
        figure.legend(fontsize="small", ncols=len(models), loc="outside upper center")


def draw_story(accuracy: Mapping[str, Any], latency: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy over latency from the teacher to INT8: the steps in onnxruntime and in OpenVINO, torch in grey.

    Args:
        accuracy: the content of reports/eval_int8.json.
        latency: the content of reports/latency.json.
        path: a PNG file.
    """
    story = {
        "Teacher": ("teacher", "teacher_onnx"),
        "Student": ("student", "student_onnx"),
        "Pruned, FP32": ("onnx_fp32", "onnx_fp32"),
        "Pruned, INT8": ("onnx_int8", "onnx_int8"),
    }
    in_openvino = {
        "FP32, OpenVINO": ("onnx_fp32", "onnx_fp32_openvino"),
        "INT8, OpenVINO": ("onnx_int8", "onnx_int8_openvino"),
    }
    in_torch = {f"{name.capitalize()}, torch": (name, name) for name in ("teacher", "student", "pruned")}
    points = {
        title: (latency[key]["p50_ms"], accuracy[model]["map50_95"], accuracy[model]["size_mib"])
        for title, (model, key) in {**story, **in_openvino, **in_torch}.items()
        if key in latency
    }
    chains = [[title for title in chain if title in points] for chain in (story, in_openvino)]
    machine = latency["machine"]
    size = size_in_words(machine["imgsz"])
    title = f"{machine['cpu']}, {machine['threads']} thread(s), {size} px. Area: size of the file"
    draw_pareto(points, chains, title, path)


def draw_pareto(
    points: Mapping[str, tuple[float, float, float]],
    chains: Sequence[Sequence[str]],
    title: str,
    path: Path,
    split: str = "test",
) -> None:
    """Draw accuracy over latency, with the file's size as the area of the dot, and the Pareto front.

    Args:
        points: by name, (latency in ms, mAP50-95 in [0, 1], size in MiB).
        chains: names of points that arrows join, in order: one colour per chain. Other points are controls, in grey.
        title: of the plot, such as the machine on which all models ran.
        path: a PNG file.
        split: on which the accuracy was measured.
    """
    colours = {name: f"C{index}" for index, chain in enumerate(chains) for name in chain}
    front = pareto_front({name: (latency_ms, accuracy) for name, (latency_ms, accuracy, _) in points.items()})
    with plot(path, 9, max(5.0, 2 + 0.2 * len(points))) as figure:
        axes = figure.add_subplot(xlabel="latency of one image, median, ms", ylabel=f"mAP50-95 on {split}", title=title)
        axes.step(*zip(*(points[name][:2] for name in front), strict=True), "k:", where="post", label="Pareto front")
        x, y, sizes_mib = zip(*points.values(), strict=True)
        colour_of = [colours.get(name, CONTROL) for name in points]
        dots = axes.scatter(x, y, s=[AREA_PER_MIB * size for size in sizes_mib], color=colour_of, alpha=0.6)
        labels = [
            axes.text(*point[:2], f"{name}, {point[2]:.1f} MiB", fontsize="small", color=colour)
            for (name, point), colour in zip(points.items(), colour_of, strict=True)
        ]
        for before, after in (step for chain in chains for step in pairwise(chain)):
            arrow = {"arrowstyle": "-|>", "color": colours[after], "shrinkA": 4, "shrinkB": 4}
            axes.annotate("", points[after][:2], points[before][:2], arrowprops=arrow)
        axes.set_xscale("log", base=2)  # the steps are ratios
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(x=0.15, y=0.2)
        axes.legend(loc="lower right")
        figure.draw_without_rendering()  # the labels are laid out in the final axes
        line = {"arrowstyle": "-", "color": CONTROL, "lw": 0.5}
        # A number of steps, not seconds, so that the layout does not depend on the machine's load.
        adjust_text(labels, objects=dots, ax=axes, iter_lim=2000, force_text=(0.2, 0.6), arrowprops=line)


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of the points that no other point dominates, fastest first.

    Args:
        points: by name, (latency, accuracy).

    >>> pareto_front({"slow": (9.0, 0.7), "dominated": (9.5, 0.5), "fast": (2.0, 0.4)})
    ['fast', 'slow']
    """
    front: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return front
