"""What pruning each layer alone costs: a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from src.pruning.sensitivity import LayerDrop


def write_drops(drops: Sequence[LayerDrop], path: Path) -> None:
    """Write a CSV with a row per layer, in the order of the network."""
    columns = [field.name for field in fields(LayerDrop)]
    pd.DataFrame([asdict(drop) for drop in drops], columns=columns).to_csv(path, index=False)


def draw_drops(drops: Sequence[LayerDrop], path: Path) -> None:
    """Draw a bar per layer, in the order of the network: what the network loses when this layer alone is pruned."""
    figure = Figure(figsize=(8, 1 + 0.22 * len(drops)), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(drops)), [100 * drop.drop for drop in drops], color="tab:blue")
    axes.set_yticks(range(len(drops)), [f"{drop.layer} {drop.kind}" for drop in drops], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.set_xlabel("points of val mAP50-95 that are lost")
    axes.set_title("Each layer pruned alone, without fine-tuning")
    # The version of matplotlib is no part of the picture.
    figure.savefig(path, metadata={"Software": None})
