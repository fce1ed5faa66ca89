"""page: tables and pictures, from the results of runs and nothing else.

    make evidence-page

Reads reports/evidence/*.json, and compares their digests with the present code and settings. Writes
reports/benchmarks/evidence.md and pictures beside it. It trains nothing and needs neither data nor models.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.evidence.chain_rows import FP32, INT8, ChainRow, ChainRows, chain_rows_of, name_of
from benchmarks.evidence.intervals import paired_difference
from benchmarks.evidence.measuring import from_text
from benchmarks.evidence.pictures import draw_gains, draw_labels
from benchmarks.evidence.protocol import Protocol, Run, content_of, load, used_datasets
from benchmarks.evidence.rows import Result, Row, Rows, all_labels, result_of, rows_of
from benchmarks.evidence.speed import speed_of
from src import PROJECT
from src.evaluation.bootstrap import Difference, Scores
from src.foundation.atomic import write_text
from src.workflow.command import guarded

PAGE = PROJECT / "reports/benchmarks/evidence.md"
GAINS, LABELS = (PAGE.with_name(f"evidence-{name}.png") for name in ("gains", "labels"))

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

CHAIN_HEADER = (
    "| network | seeds | FP32 | INT8 | INT8 against its FP32 | INT8 against the control's | | of the teacher's | "
    "epochs, with its start's | MiB of FP32, INT8 | INT8: latency, times the teacher's speed |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)

INTRODUCTION = """\
# The evidence: what each way of training gains

Every number is read from a file of a run in [reports/evidence](../evidence). Each variant has its control in the
first row. mAP50-95 in percent, mean over seeds and standard deviation. The difference is paired by seed; its 95%
interval is a bootstrap over test images and seeds. It *gains* only where the interval excludes 0. *Last quarter*:
what the last quarter of its epochs added on val, in points; a variant at its plateau has little. Epochs are its own and
those that its start or its teaching cost: the teacher's. A part of the test images is sealed, and no run of these
tables has read it. A row that is *stale* was made by other code, settings, data or another teacher than the present
ones.

`make evidence BCCD=path CARDS=path`, `make evidence-page`"""


def main() -> None:
    """Write the page and its pictures."""
    protocol = load()
    found = [rows_of(table, data, protocol) for table in protocol.tables for data in protocol.runs[table.group].data]
    in_chains = {data: None for one in protocol.chains.values() for data in one.data}
    chained = [chain_rows_of(table, data, protocol) for table in protocol.chain_tables for data in in_chains]
    draw_gains(found, GAINS)
    draw_labels(found, protocol, LABELS)
    write_text(PAGE, page(found, chained, protocol))


def page(tables: list[Rows], chained: list[ChainRows], protocol: Protocol) -> str:
    """Return the page.

    Args:
        tables: what each has on each dataset.
        chained: what each table about chains has on each dataset.
        protocol: of the evidence.
    """
    lines = [INTRODUCTION, "", *_summary(tables, protocol), *_pictures(tables), *_teachers(protocol)]
    for title in dict.fromkeys(one.table.title for one in tables):
        lines += _titled(title, [_section(one, protocol) for one in tables if one.table.title == title and _told(one)])
    for title in dict.fromkeys(one.table.title for one in chained):
        parts = [one for one in chained if one.table.title == title and _told(one)]
        lines += _titled(title, [_chain_section(one, protocol) for one in parts])
    sealed = list(_sealed(protocol))
    lines += _titled("Sealed test images", [sealed] if sealed else [])
    lines += ["", "## Not run", "", *_not_run([*tables, *chained])]
    return "\n".join(lines) + "\n"


def verdict(gained: Difference | None) -> str:
    """Return the word for a difference.

    >>> verdict(Difference(0.02, 0.01, 0.03)), verdict(Difference(0.02, -0.01, 0.05)), verdict(None)
    ('gains', 'within noise', 'one seed: no interval')
    """
    if gained is None:
        return "one seed: no interval"
    if gained.is_noise:
        return "within noise"
    return "gains" if gained.low > 0 else "loses"


def shown(gained: Difference | None) -> str:
    """Return a difference in points.

    >>> shown(Difference(0.0123, -0.01, 0.05))
    '+1.2 [-1.0, +5.0]'
    """
    if gained is None:
        return ""
    return f"{100 * gained.gained:+.1f} [{100 * gained.low:+.1f}, {100 * gained.high:+.1f}]"


def share(values: list[float], whole: float) -> str:
    """Return the share of their mean in a whole, percent.

    >>> share([40, 50], 50), share([0.0], 0.0)
    ('90.0%', 'nothing to compare with')
    """
    return f"{statistics.mean(values) / whole:.1%}" if whole else "nothing to compare with"


def _summary(tables: list[Rows], protocol: Protocol) -> Iterator[str]:
    compared = [(one, row) for one in tables for row in one.rows[1:] if row.gained and not row.stale]
    gaining = [(one, row) for one, row in compared if verdict(row.gained) == "gains"]
    if not compared:
        yield "**Nothing has been compared at the present state of code, settings and data.**"
        return
    yield f"**{len(gaining)} of {len(compared)} comparisons at the present state show a gain.**"
    for one, row in gaining:
        title = protocol.variants[row.variant].title
        yield f"\n- {one.table.title}, {one.data}: {title} gains {shown(row.gained)}"


def _titled(title: str, sections: Sequence[Iterable[str]]) -> Iterator[str]:
    """Yield a title and its sections; nothing where there is no section."""
    if sections:
        yield from ("", f"## {title}")
    for section in sections:
        yield ""
        yield from section


def _told(one: Rows | ChainRows) -> bool:
    return bool(one.rows or one.refused)


def _pictures(tables: list[Rows]) -> Iterator[str]:
    if any(row.gained for one in tables for row in one.rows):
        yield from ("", f"![gains over the control]({GAINS.name})")
        yield from ("", f"![mAP50-95 over the share of the labels]({LABELS.name})")


def _teachers(protocol: Protocol) -> Iterator[str]:
    found = {data: one for data in used_datasets(protocol) if (one := result_of(Run("teacher", data), protocol))}
    if not found:
        return
    yield from ("", "## Teachers", "")
    yield "| data | val | test | epochs | stopped | minutes | |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for data, one in found.items():
        content = one.content
        ended = "val no longer rose" if content["converged"] else "at its last epoch: it may not have converged"
        accuracies = " | ".join(f"{100 * content[split]['map50_95']:.1f}" for split in ("val", "test"))
        yield f"| {data} | {accuracies} | {one.epochs} | {ended} | {content['minutes']:.0f} | {_stale(one.stale)} |"


def _section(one: Rows, protocol: Protocol) -> Iterator[str]:
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
    yield _made_by([result for row in one.rows for result in row.results.values()])
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
    yield f"With all labels, {protocol.variants[protocol.all_labels].title}: {_spread(accuracies)}. Of that: {reached}."


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
        _spread(row.percent("val")),
        _spread(row.percent("test")),
        *([] if one.table.of_class is None else [_spread(row.percent_of_class(one.table.of_class))]),
        shown(row.gained),
        " ".join(filter(None, [word, _stale(row.stale)])),
        f"{100 * row.mean('late_gain'):+.1f}",
        _span([result.epochs for result in row.results.values()]),
        f"{row.mean('minutes'):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _stale(reasons: tuple[str, ...]) -> str:
    return f"**stale**: {', '.join(reasons)}" if reasons else ""


def _made_by(results: list[Result], split: str = "") -> str:
    """Return a line with the test images, the machines and the commits of results."""
    machines = sorted({_machine(one) for one in results})
    commits = sorted({str(one.content["made"]["commit"])[:10] for one in results})
    changed = any(one.content["made"]["changed_since_commit"] for one in results)
    images = (results[0].content[split] if split else results[0].content)["test"]["images"]
    told = f"{images} test images; {'; '.join(machines)}; commits {', '.join(commits)}"
    return f"{told}{', with changes since' if changed else ''}."


def _machine(one: Result) -> str:
    made = one.content["made"]
    return (
        f"{made['device'] if made['device'] != 'cpu' else made['cpu']}, {made['threads']} threads, {made['precision']}"
    )


def _spread(percent: list[float]) -> str:
    mean = f"{statistics.mean(percent):.1f}"
    return f"{mean} ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else mean


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _chain_section(part: ChainRows, protocol: Protocol) -> Iterator[str]:
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
            f"{settings.processes} processes; {machine['cpu']} ({', '.join(machine['flags'])}). {_stale(timed.stale)}"
        )
    yield _made_by([result for row in part.rows for result in row.results.values()], split="int8")
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
        _spread(row.percent(FP32)),
        _spread(row.percent(INT8)),
        shown(row.rounding),
        shown(row.gained),
        " ".join(filter(None, [word, _stale(row.stale)])),
        of_teacher,
        _span([result.epochs for result in row.results.values()]),
        f"{row.size_mib(FP32):.2f}, {row.size_mib(INT8):.2f}",
        str(speed_of(row.name, row.results, timed.content if timed else None) or ""),
    ]
    return f"| {' | '.join(cells)} |"


def _sealed(protocol: Protocol) -> Iterator[str]:
    for data in protocol.sealed.data:
        prepared, opened = content_of(Run("prepare", data)), content_of(Run("opening", data))
        if prepared is None:
            continue
        if not opened or not opened["opened"]:
            yield f"- {data}: {prepared['sealed']} images, not opened"
            continue
        yield f"- {data}: {prepared['sealed']} images, opened at commit {opened['made']['commit'][:10]}"
        for variant in protocol.sealed.variants:
            yield f"  - {protocol.variants[variant].title}: {_on_sealed(variant, opened, protocol)}"


def _on_sealed(variant: str, opened: Mapping[str, Any], protocol: Protocol) -> str:
    """Return what a variant has on the sealed images, and what it gains over the first of the chosen variants."""
    by_variant: dict[str, dict[int, Scores]] = {}
    for one in opened["students"].values():
        scores = from_text(one["test"]["map50_95"], one["draws"])
        by_variant.setdefault(one["variant"], {})[one["seed"]] = scores
    found, control = by_variant.get(variant, {}), protocol.sealed.variants[0]
    if not found:
        return "not measured"
    told = _spread([100 * scores.map50_95 for scores in found.values()])
    if variant != control:
        gained = paired_difference(by_variant.get(control, {}), found)
        told += f", {shown(gained)} {verdict(gained)}"
    trained_since = any(
        result.content["digests"]["weights"] != one["weights"]
        for one in opened["students"].values()
        if one["variant"] == variant
        and (result := result_of(Run("student", opened["run"]["data"], variant, seed=one["seed"]), protocol))
    )
    return f"{told}{', **trained again since**' if trained_since else ''}"


def _not_run(tables: Sequence[Rows | ChainRows]) -> Iterator[str]:
    for one in tables:
        missing: dict[str, list[str]] = {}
        for run in one.missing:
            missing.setdefault(name_of(run) if run.after else str(run.variant), []).append(str(run.seed))
        if missing:
            listed = "; ".join(f"{variant} (seeds {', '.join(seeds)})" for variant, seeds in missing.items())
            yield f"- {one.table.title}, {one.data}: {listed}"


if __name__ == "__main__":
    raise SystemExit(guarded(main))
