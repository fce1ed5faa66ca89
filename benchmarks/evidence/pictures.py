"""The pictures of the page: gains with their intervals, and accuracy over the share of the labels."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evidence.protocol import Dataset, Protocol
from benchmarks.evidence.rows import Rows, all_labels, comparisons
from src.reporting.plots import CONTROL, label, plot

GAIN, NOISE = "C0", CONTROL


def draw_gains(tables: Sequence[Rows], path: Path) -> None:
    """Draw each variant's difference to its control with its interval; grey where it includes 0.

    Differences of one class alone are not drawn: they would dwarf the others.
    """
    rows = [(one, row) for one, row in comparisons(tables) if one.table.of_class is None]
    with plot(path, 8, 1.2 + 0.3 * max(1, len(rows))) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color="black", linewidth=0.8)
        for place, (_, row) in enumerate(rows):
            assert row.gained
            color = NOISE if row.gained.is_noise else GAIN
            axes.plot([100 * row.gained.low, 100 * row.gained.high], [place, place], color=color)
            axes.plot(100 * row.gained.gained, place, "o", color=color)
        names = [label(f"{one.data}: {row.variant}{' (stale)' if row.stale else ''}") for one, row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("test mAP50-95 over the control, points: mean over seeds and 95% interval; grey: within noise")


def draw_labels(tables: Sequence[Rows], protocol: Protocol, path: Path) -> None:
    """Draw the accuracy over the share of the labels: a line per dataset and variant, dashed with all labels.

    Stale results are not drawn.
    """
    lines: dict[tuple[str, str], dict[float, float]] = {}
    whole: dict[str, float] = {}
    for one in tables:
        dataset = protocol.datasets[one.data]
        for row in one.rows:
            if dataset.part_of and not row.stale:
                line = lines.setdefault((dataset.part_of, row.variant), {})
                line[100 * share_of_labels(dataset)] = statistics.mean(row.percent("test"))
        if dataset.part_of and (found := all_labels(one.data, protocol)):
            whole[dataset.part_of] = statistics.mean(100 * result.content["test"]["map50_95"] for result in found)
    with plot(path, 7, 4) as figure:
        axes = figure.add_subplot()
        for number, ((data, variant), line) in enumerate(sorted(lines.items())):
            name = label(f"{data}: {protocol.variants[variant].title}")
            axes.plot(sorted(line), [line[share] for share in sorted(line)], "o-", color=f"C{number}", label=name)
        for data, accuracy in whole.items():
            axes.axhline(accuracy, color=CONTROL, linestyle="--", label=f"{data}: all labels")
        axes.set(xlabel="share of the training images with labels, percent", ylabel="test mAP50-95, percent")
        if lines:
            axes.legend(fontsize="small")


def share_of_labels(dataset: Dataset) -> float:
    """Return the share of the training images of a dataset that have labels."""
    given = [one.partition("=")[2] for one in dataset.prepare if one.startswith("label_fraction=")]
    return float(given[-1]) if given else 1.0
