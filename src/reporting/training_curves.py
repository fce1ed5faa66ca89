"""The curves of a training: a CSV for `dvc plots` and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from src.foundation.atomic import write_text
from src.reporting.plots import CONTROL, plot

ACCURACY = ("map50_95", "map50")


def save_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write a CSV with a row per epoch and a column per metric."""
    table = pd.DataFrame(history)
    table.insert(0, "epoch", range(1, len(table) + 1))
    write_text(path, table.to_csv(index=False, float_format="%.6g"))


def draw_curves(history: Sequence[Mapping[str, float]], best_epoch: int, path: Path) -> None:
    """Draw the training losses and the accuracy on val over the epochs, and mark the epoch whose weights were kept."""
    table = pd.DataFrame(history, index=range(1, len(history) + 1))
    losses = [name for name in table.columns if name.startswith("train/")]
    with plot(path, 9, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        for name in losses:
            left.plot(table.index, table[name], label=name.removeprefix("train/"))
        left.set(title="training losses", xlabel="epoch", yscale="log")
        for name in ACCURACY:
            right.plot(table.index, table[name], label=name)
        right.axvline(best_epoch, color=CONTROL, linestyle=":", label="kept")
        right.set(title="accuracy on val", xlabel="epoch", ylim=(0, 1))
        for axes in (left, right):
            axes.legend(fontsize="small")
