"""page: tables and pictures, from the results of runs and nothing else.

    make evidence-page

Reads reports/evidence/*.json, and compares their digests with the present code and settings. Writes
reports/benchmarks/evidence.md and pictures beside it. It trains nothing and needs neither data nor models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.evidence.cells import shown, spread, stale_word, verdict
from benchmarks.evidence.chain_rows import ChainRows, chain_rows_of, name_of
from benchmarks.evidence.chain_tables import chain_section
from benchmarks.evidence.intervals import paired_difference
from benchmarks.evidence.loading import load
from benchmarks.evidence.measuring import from_text
from benchmarks.evidence.pictures import draw_gains, draw_labels
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.rows import Rows, comparisons, result_of, rows_of
from benchmarks.evidence.runs import Run, content_of, used_datasets
from benchmarks.evidence.student_tables import student_section
from src import PROJECT
from src.evaluation.bootstrap import Scores
from src.foundation.atomic import write_text
from src.workflow.command import guarded

PAGE = PROJECT / "reports/benchmarks/evidence.md"
GAINS, LABELS = (PAGE.with_name(f"evidence-{name}.png") for name in ("gains", "labels"))

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
    lines = [INTRODUCTION, "", *_summary(tables, protocol), *_pictures(tables, protocol)]
    lines += _teachers(protocol)
    for title in dict.fromkeys(one.table.title for one in tables):
        of_students = [one for one in tables if one.table.title == title and _compares(one, protocol)]
        lines += _titled(title, [student_section(one, protocol) for one in of_students])
    for title in dict.fromkeys(one.table.title for one in chained):
        of_chains = [one for one in chained if one.table.title == title and (one.rows or one.refused)]
        lines += _titled(title, [chain_section(one, protocol) for one in of_chains])
    sealed = list(_sealed(protocol))
    lines += _titled("Sealed test images", [sealed] if sealed else [])
    lines += ["", "## Not run", "", *_not_run([*tables, *chained])]
    return "\n".join(lines) + "\n"


def _summary(tables: list[Rows], protocol: Protocol) -> Iterator[str]:
    compared = [(one, row) for one, row in comparisons(tables) if not row.stale]
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


def _compares(one: Rows, protocol: Protocol) -> bool:
    """Return whether a table has more than its control, and rows of other tables that stand beside its own."""
    own = {*protocol.runs[one.table.group].variant} - {one.table.control}
    return one.refused is not None or any(row.variant in own for row in one.rows)


def _pictures(tables: list[Rows], protocol: Protocol) -> Iterator[str]:
    if comparisons(tables):
        yield from ("", f"![gains over the control]({GAINS.name})")
    if any(protocol.datasets[one.data].part_of and one.rows for one in tables):
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
        yield f"| {data} | {accuracies} | {one.epochs} | {ended} | {content['minutes']:.0f} | {stale_word(one.stale)} |"


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
    told = spread([100 * scores.map50_95 for scores in found.values()])
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
