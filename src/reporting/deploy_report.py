"""The words of a delivery: a model card from the facts of a file, and the page with all files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from src.evaluation.latency import Latency
from src.reporting.escaping import code, plain


@dataclass(frozen=True)
class Row:
    """A file, or the network in float, in the table of a delivery.

    Attributes:
        name: of the target.
        metrics: `val`, `size_mib` and, but for the network in float, `drop` and `agreement`; None: no file was made.
        latency: of one forward pass; None: not timed.
        foreign: why this is not the time on the target's device; None: it is.
        fault: why the file was not written; None: it was.
    """

    name: str
    metrics: Mapping[str, Any] | None
    latency: Latency | None
    foreign: str | None = None
    fault: str | None = None


def write_card(facts: Mapping[str, Any]) -> str:
    """Return the page with the facts of a file."""
    lines = [f"# {plain(str(facts['file']))}: {plain(str(facts['target']))}", ""]
    for key, value in facts.items():
        lines += _fact(key, value)
    return "\n".join(lines) + "\n"


def write_page(rows: Sequence[Row], conditions: Sequence[str]) -> str:
    """Return the page with all files.

    Args:
        rows: the network in float first.
        conditions: sentences about how it was measured.
    """
    fp32 = rows[0]
    table = [
        "| target | MiB | mAP50-95 | below FP32 | mAP50 | same detections | p50 ms | p95 ms | speedup | written |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(row, fp32) for row in rows),
    ]
    notes = [f"- {plain(row.name)}: {plain(row.foreign)}." for row in rows if row.foreign and row.latency]
    faults = [f"- {plain(row.fault)}" for row in rows if row.fault]
    parts = [
        "# Files for devices",
        " ".join(conditions),
        "\n".join(table),
        *(["(\\*) The time here is not the time on the device:", "\n".join(notes)] if notes else []),
        *(["Not written:", "\n".join(faults)] if faults else []),
    ]
    return "\n\n".join(parts) + "\n"


def _fact(key: str, value: Any, depth: int = 0) -> list[str]:
    """Return a fact as a list of Markdown, nested facts below it."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        inner = [line for name, fact in value.items() for line in _fact(name, fact, depth + 1)]
        return [f"{indent}- {plain(key)}:", *inner]
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        inner = [line for number, one in enumerate(value, start=1) for line in _fact(str(number), one, depth + 1)]
        return [f"{indent}- {plain(key)}:", *inner]
    shown = ", ".join(code(str(one)) for one in value) if isinstance(value, list) else plain(str(value))
    return [f"{indent}- {plain(key)}: {shown}"]


def _row(row: Row, fp32: Row) -> str:
    cells = [plain(row.name)]
    if row.metrics is None:
        cells += [""] * 5
    else:
        drop, agreement = row.metrics.get("drop"), row.metrics.get("agreement")
        cells += [
            f"{row.metrics['size_mib']:.2f}",
            _points(row.metrics["val"]["map50_95"]),
            "" if drop is None else f"{100 * drop:.2f}",
            _points(row.metrics["val"]["map50"]),
            "" if agreement is None else _share(agreement["share_matched"]),
        ]
    if row.latency is None or fp32.latency is None:
        cells += [""] * 3
    else:
        speedup = fp32.latency.p50_ms / row.latency.p50_ms
        mark = " (*)" if row.foreign else ""
        cells += [f"{row.latency.p50_ms:.2f}", f"{row.latency.p95_ms:.2f}", f"{speedup:.2f}{mark}"]
    cells.append("" if row is fp32 else "no" if row.fault else "yes")
    return f"| {' | '.join(cells)} |"


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _share(matched: float | None) -> str:
    return "nothing found" if matched is None else f"{100 * matched:.1f} %"
