"""Pictures of what pruning does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from src.pruning.sensitivity import LayerDrop


def draw_drops(drops: Sequence[LayerDrop], path: Path) -> None:
    """Draw what each layer loses when it is pruned alone as a bar, in the order of the network."""
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
