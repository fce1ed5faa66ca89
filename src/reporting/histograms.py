"""Histograms of activations, with the range of each calibrator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.quantization.ranges.calibration import CalibratedTensor
from src.quantization.ranges.histogram import Histogram
from src.quantization.ranges.percentile import percentile_range
from src.reporting.plots import plot

COLUMNS, ROWS = 4, 3
BULK = 99.0
"""Percentage of a tensor's values that count as its bulk; the others are outliers."""
_DRAWN_BINS = 128


def evenly_spaced(tensors: dict[str, CalibratedTensor]) -> list[str]:
    """Return the names of as many tensors as fit into a picture, evenly spaced from the input to the output."""
    names = list(tensors)
    room = min(COLUMNS * ROWS, len(names))
    return [names[index] for index in np.linspace(0, len(names) - 1, room).round().astype(int)]


def most_stretched(tensors: dict[str, CalibratedTensor]) -> list[str]:
    """Return the names of the tensors with the widest range relative to the bulk of their values, widest first."""

    def stretch(name: str) -> float:
        tensor = tensors[name]
        low, high = percentile_range(tensor.histogram, BULK)
        return (tensor.histogram.greatest - tensor.histogram.least) / (high - low) if high > low else 0.0

    # Sorting is stable: tensors with the same stretch stay in the order of computation.
    return sorted(tensors, key=stretch, reverse=True)[: COLUMNS * ROWS]


def draw_histograms(tensors: dict[str, CalibratedTensor], names: Sequence[str], title: str, path: Path) -> None:
    """Draw the histograms of the tensors `names` on a log scale, with each calibrator's range as a pair of lines."""
    with plot(path, 3.4 * COLUMNS, 2 * ROWS) as figure:
        figure.suptitle(f"{title} (a pair of lines: the range of a calibrator)")
        for index, name in enumerate(names):
            axes = figure.add_subplot(ROWS, COLUMNS, index + 1)
            tensor = tensors[name]
            edges, counts = _coarser(tensor.histogram)
            axes.stairs(counts, edges, fill=True, color="lightgray")
            axes.set_yscale("log", nonpositive="clip")
            for number, (calibrator, bounds) in enumerate(tensor.ranges.items()):
                for bound in bounds:
                    # Ranges often coincide: dashes with different offsets show every colour.
                    dashes = (3 * number, (3, 3 * (len(tensor.ranges) - 1)))
                    axes.axvline(bound, color=f"C{number}", linestyle=dashes, linewidth=1.5, label=calibrator)
            axes.set_title(name if len(name) <= 44 else "..." + name[-41:], fontsize=7)
            axes.tick_params(labelsize=6)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))


def _coarser(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return edges and counts in at most `_DRAWN_BINS` bins: more bins than pixels would hide the shape."""
    step = -(-len(histogram.counts) // _DRAWN_BINS)
    starts = np.arange(0, len(histogram.counts), step)
    edges = histogram.edges[[*starts, len(histogram.counts)]]
    if histogram.least == histogram.greatest:
        # Bins of zero width are invisible.
        edges = edges + np.linspace(-0.5, 0.5, len(edges))
    return edges, np.add.reduceat(histogram.counts, starts)
