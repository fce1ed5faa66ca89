"""The accuracy lost by pruning each layer alone: a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from src.pruning.sensitivity import LayerDrop
from src.reporting.plots import plot


def write_drops(drops: Sequence[LayerDrop], path: Path) -> None:
    """Write a CSV with a row per layer, in the order of the network."""
    columns = [field.name for field in fields(LayerDrop)]
    pd.DataFrame([asdict(drop) for drop in drops], columns=columns).to_csv(path, index=False)


def draw_drops(drops: Sequence[LayerDrop], path: Path) -> None:
    """Draw a bar per layer, in the order of the network: the accuracy lost when only this layer is pruned."""
    with plot(path, 7, 1 + 0.2 * len(drops)) as figure:
        axes = figure.add_subplot()
        axes.barh(range(len(drops)), [100 * drop.drop for drop in drops])
        axes.set_yticks(range(len(drops)), [f"{drop.layer} {drop.kind}" for drop in drops])
        axes.invert_yaxis()
        axes.margins(y=0.02)
        axes.set_xlabel("loss of val mAP50-95, points")
        axes.set_title("Each layer pruned alone, without fine-tuning")
