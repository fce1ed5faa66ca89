"""The table, the picture and the page of a search from a budget to a detector."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from src.foundation.atomic import write_text
from src.reporting.accuracy_plots import draw_pareto
from src.reporting.escaping import cell, plain

TABLE, PICTURE, PAGE = "candidates.csv", "pareto.png", "report.md"


def write_search(
    rows: Sequence[Mapping[str, Any]],
    points: Mapping[str, tuple[float, float, float]],
    quantized: Sequence[str],
    summary: Sequence[str],
    title: str,
    folder: Path,
) -> None:
    """Write candidates.csv, pareto.png and report.md of a search.

    Args:
        rows: of all candidates, with the same keys; `front` tells which are on the Pareto front.
        points: by name, (latency in ms, mAP50-95 on val, size in MiB) of the candidates that were trained.
        quantized: the names of those whose accuracy is that of INT8; others are drawn in grey.
        summary: paragraphs in Markdown that open the page.
        title: of the picture.
        folder: that gets the files.
    """
    write_text(folder / TABLE, _table(rows))
    picture = []
    if points:
        draw_pareto(points, [[name] for name in quantized], title, folder / PICTURE, split="val")
        picture = [f"![val mAP50-95 over latency]({PICTURE})"]
    parts = ["# A search from a budget to a detector", *summary, *_front(rows), *picture]
    write_text(folder / PAGE, "\n\n".join(parts) + "\n")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _front(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the Pareto front as a paragraph: accuracy over latency, the fastest first."""
    front = sorted((row for row in rows if row["front"]), key=lambda row: row["p50_ms"])
    if not front:
        return []
    lines = ["| candidate | p50 ms | MiB | epochs | val mAP50-95 | of | state |", "|---|---|---|---|---|---|---|"]
    for row in front:
        is_int8 = row["int8_val_map50_95"] is not None
        accuracy = row["int8_val_map50_95"] if is_int8 else row["val_map50_95"]
        numbers = f"{row['p50_ms']:.2f} | {row['mib']:.2f} | {row['epochs']} | {100 * accuracy:.1f}"
        lines.append(f"| {plain(row['candidate'])} | {numbers} | {'INT8' if is_int8 else 'float'} | {row['state']} |")
    return ["## The Pareto front of all that was trained", "\n".join(lines)]
