"""The tables of students: each variant beside its control."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.evidence.cells import made_by, share, shown, span, spread, stale_word, verdict
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.rows import Result, Row, Rows, all_labels

COLUMNS = (
    "variant",
    "seeds",
    "val",
    "test",
    "against the control",
    "",
    "last quarter",
    "epochs, with its start's",
    "minutes",
)


def student_section(one: Rows, protocol: Protocol) -> Iterator[str]:
    """Yield the lines of a table on a dataset."""
    dataset = protocol.datasets[one.data]
    yield f"### {one.data}: {dataset.title}"
    yield ""
    if one.refused:
        yield f"**Refused: results of different states do not stand in one table.** {one.refused}."
        return
    if one.rows[0].variant != one.table.control:
        yield "The control was not run, so nothing is compared."
        yield ""
    yield from _header(one.table.of_class)
    for row in one.rows:
        yield _line(row, one, protocol)
    yield ""
    if one.table.of_class is not None:
        yield f"Compared is class {one.table.of_class} alone; the interval is one over seeds."
    yield made_by([result for row in one.rows for result in row.results.values()])
    yield from _beside_all_labels(one, protocol)
    if one.left_out:
        yield f"Stale, and not in the table: {', '.join(result.run.name for result in one.left_out)}."


def _beside_all_labels(one: Rows, protocol: Protocol) -> Iterator[str]:
    """Yield how much of the accuracy with all labels each row reaches, on the same test images."""
    whole = [result for result in all_labels(one.data, protocol) if _same_test(result, one)]
    if not whole:
        return
    accuracies = [100 * result.content["test"]["map50_95"] for result in whole]
    mean = statistics.mean(accuracies)
    reached = "; ".join(
        f"{protocol.variants[row.variant].title} {share(row.percent('test'), mean)}" for row in one.rows
    )
    yield f"With all labels, {protocol.variants[protocol.all_labels].title}: {spread(accuracies)}. Of that: {reached}."


def _same_test(result: Result, one: Rows) -> bool:
    first = next(iter(one.rows[0].results.values()))
    return result.digests["test"] == first.digests["test"]


def _header(of_class: str | None) -> Iterator[str]:
    columns = [*COLUMNS[:4], *([] if of_class is None else [f"test, class {of_class}"]), *COLUMNS[4:]]
    yield f"| {' | '.join(columns)} |".replace("|  |", "| |")
    yield f"|{' --- |' * len(columns)}"


def _line(row: Row, one: Rows, protocol: Protocol) -> str:
    is_control = row.variant == one.table.control
    word = "control" if is_control else verdict(row.gained)
    cells = [
        protocol.variants[row.variant].title,
        str(len(row.results)),
        spread(row.percent("val")),
        spread(row.percent("test")),
        *([] if one.table.of_class is None else [spread(row.percent_of_class(one.table.of_class))]),
        shown(row.gained),
        " ".join(filter(None, [word, stale_word(row.stale)])),
        f"{100 * row.mean('late_gain'):+.1f}",
        span([result.epochs for result in row.results.values()]),
        f"{row.mean('minutes'):.0f}",
    ]
    return f"| {' | '.join(cells)} |"
