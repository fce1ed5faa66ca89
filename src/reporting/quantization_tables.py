"""Tables and a picture of quantize: its tries, and the sensitivity of each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from src.quantization.calibrated_network import LayerRanking
from src.quantization.search import Try
from src.reporting.plots import plot

TRIES = (
    "calibrator",
    "per_channel",
    "symmetric_activations",
    "float_layers",
    "trained",
    "val_map50_95",
    "drop",
    "gain",
)


def write_tries(tried: Sequence[Try], path: Path) -> None:
    """Write a CSV with a row per try, in the order of the search."""
    rows = [(*one.candidate.varied.values(), one.map50_95, one.drop, one.gain) for one in tried]
    pd.DataFrame(rows, columns=TRIES).to_csv(path, index=False)


def write_sensitivity(ranking: LayerRanking, folder: Path) -> None:
    """Write sensitivity.csv (a row per layer, most sensitive first) and sensitivity.png."""
    table = pd.DataFrame([asdict(error) for error in ranking.errors])
    table.to_csv(folder / "sensitivity.csv", index=False, float_format="%.4f")
    draw_sensitivity(dict(table.itertuples(index=False)), ranking.layers, folder / "sensitivity.png")


def draw_sensitivity(sqnr_db: Mapping[str, float], order: Sequence[str], path: Path) -> None:
    """Draw a bar per layer, in the order given: its signal-to-noise ratio in dB. Short bars are sensitive layers."""
    highest = max((value for value in sqnr_db.values() if math.isfinite(value)), default=0.0)
    with plot(path, 7, 1 + 0.14 * len(order)) as figure:
        axes = figure.add_subplot()
        axes.barh(range(len(order)), [min(sqnr_db[layer], highest) for layer in order])
        axes.set_yticks(range(len(order)), order, fontsize=6)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.set_xlabel("signal-to-quantization-noise ratio (SQNR) at the head, dB")
        axes.set_title("Each convolution quantized alone")
