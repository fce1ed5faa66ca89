"""What quantize tried, and how sensitive each layer is: tables and a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from src.quantization.calibrated_network import LayerRanking
from src.quantization.search import Try

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
    """Write a CSV with a row per try, in the order in which they were tried."""
    rows = [(*one.candidate.varied.values(), one.map50_95, one.drop, one.gain) for one in tried]
    pd.DataFrame(rows, columns=TRIES).to_csv(path, index=False)


def write_sensitivity(ranking: LayerRanking, folder: Path) -> None:
    """Write sensitivity.csv, a row per layer with the most sensitive first, and sensitivity.png."""
    table = pd.DataFrame([asdict(error) for error in ranking.errors])
    table.to_csv(folder / "sensitivity.csv", index=False, float_format="%.4f")
    draw_sensitivity(dict(table.itertuples(index=False)), ranking.layers, folder / "sensitivity.png")


def draw_sensitivity(sqnr_db: Mapping[str, float], order: Sequence[str], path: Path) -> None:
    """Draw a bar per layer, in the order given: its signal to noise ratio. Short bars are sensitive layers."""
    highest = max((value for value in sqnr_db.values() if math.isfinite(value)), default=0.0)
    figure = Figure(figsize=(8, 1 + 0.16 * len(order)), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(order)), [min(sqnr_db[layer], highest) for layer in order], color="tab:blue")
    axes.set_yticks(range(len(order)), order, fontsize=6)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("signal over quantization noise at the head, dB")
    axes.set_title("Each convolution quantized alone")
    figure.savefig(path, metadata={"Software": None})
