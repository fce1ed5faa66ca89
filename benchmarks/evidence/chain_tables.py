"""The tables of chains: from a student to INT8."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.evidence.cells import made_by, share, shown, span, spread, stale_word, verdict
from benchmarks.evidence.chain_rows import FP32, INT8, ChainRow, ChainRows
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.rows import Result, result_of
from benchmarks.evidence.runs import Run
from benchmarks.evidence.speed import speed_of

CHAIN_HEADER = (
    "| network | seeds | FP32 | INT8 | INT8 against its FP32 | INT8 against the control's | | of the teacher's | "
    "epochs, with its start's | MiB of FP32, INT8 | INT8: latency, times the teacher's speed |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


def chain_section(part: ChainRows, protocol: Protocol) -> Iterator[str]:
    """Yield the lines of a table about chains on a dataset."""
    yield f"### {part.data}: {protocol.datasets[part.data].title}"
    yield ""
    if part.refused:
        yield f"**Refused: results of different states do not stand in one table.** {part.refused}."
        return
    yield from CHAIN_HEADER
    teacher, timed = result_of(Run("teacher", part.data), protocol), result_of(Run("latency", part.data), protocol)
    for row in part.rows:
        yield _chain_line(row, part, protocol, teacher, timed)
    yield ""
    if timed is not None:
        machine, settings = timed.content["machine"], protocol.latency
        yield (
            f"Latency: one image, one thread, the first seed's network: median, least and most of the medians of "
            f"{settings.processes} processes; {machine['cpu']} ({', '.join(machine['flags'])}). "
            f"{stale_word(timed.stale)}"
        )
    yield made_by([result for row in part.rows for result in row.results.values()], split="int8")
    if part.left_out:
        yield f"Stale, and not in the table: {', '.join(result.run.name for result in part.left_out)}."


def _chain_line(
    row: ChainRow, part: ChainRows, protocol: Protocol, teacher: Result | None, timed: Result | None
) -> str:
    student, after = row.name.split("/")  # titles of variants say what they are beside their control alone
    word = "control" if row.name == part.table.control else verdict(row.gained)
    of_teacher = ""
    if teacher is not None and not teacher.stale:
        of_teacher = share(row.percent(INT8), 100 * teacher.content["test"]["map50_95"])
    cells = [
        f"{student}: {protocol.after[after].title}",
        str(len(row.results)),
        spread(row.percent(FP32)),
        spread(row.percent(INT8)),
        shown(row.rounding),
        shown(row.gained),
        " ".join(filter(None, [word, stale_word(row.stale)])),
        of_teacher,
        span([result.epochs for result in row.results.values()]),
        f"{row.size_mib(FP32):.2f}, {row.size_mib(INT8):.2f}",
        str(speed_of(row.name, row.results, timed.content if timed else None) or ""),
    ]
    return f"| {' | '.join(cells)} |"
