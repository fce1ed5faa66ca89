"""From the results of runs to the rows of a table: which belong together, which are stale, and which are missing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.evidence.intervals import paired_difference
from benchmarks.evidence.measuring import from_text
from benchmarks.evidence.protocol import Protocol, Table
from benchmarks.evidence.runs import Run, content_of, students
from benchmarks.evidence.settings import plan_of
from src.evaluation.bootstrap import DRAWS, Difference, Scores

COMMON = ("protocol", "data", "test")
"""Digests that all rows of a table share: what all students of a dataset share, the data, the test images."""


class MixedRowsError(Exception):
    """Rows of one table are not of one state of code, data, teacher and protocol."""


@dataclass(frozen=True)
class Result:
    """The result of a run, and why it is stale; empty: it is not."""

    run: Run
    content: Mapping[str, Any]
    stale: tuple[str, ...]

    @property
    def digests(self) -> Mapping[str, str | None]:
        """Of what it was made from."""
        found: Mapping[str, str | None] = self.content["digests"]
        return found

    def scores(self, of_class: str | None = None) -> Scores:
        """Return what it has on test and on draws of its images.

        Of one class there are no draws, so an interval of it is one over seeds alone.
        """
        test = self.content["test"]
        if of_class is None:
            return from_text(test["map50_95"], self.content["draws"])
        found = float(test["per_class"][of_class]["map50_95"])
        return Scores(found, np.full(DRAWS, found))

    @property
    def epochs(self) -> int:
        """Its own and those of what it stands on."""
        return int(self.content["epochs"]["own"] + self.content["epochs"]["below"])


@dataclass(frozen=True)
class Row:
    """A variant over seeds.

    Attributes:
        variant: its name.
        results: by seed.
        gained: over the control; None for the control, or with fewer than two common seeds.
    """

    variant: str
    results: Mapping[int, Result]
    gained: Difference | None = None

    @property
    def stale(self) -> tuple[str, ...]:
        """What differs from the present, of any of its results."""
        return tuple(sorted({reason for result in self.results.values() for reason in result.stale}))

    def percent(self, split: str) -> list[float]:
        """Return mAP50-95 on a split, by seed."""
        return [100 * result.content[split]["map50_95"] for _, result in sorted(self.results.items())]

    def percent_of_class(self, name: str) -> list[float]:
        """Return mAP50-95 of a class on test, by seed."""
        return [100 * result.scores(name).map50_95 for _, result in sorted(self.results.items())]

    def mean(self, key: str) -> float:
        """Return the mean over seeds of a number of the results, such as minutes."""
        return statistics.mean(float(result.content[key]) for result in self.results.values())


@dataclass(frozen=True)
class Rows:
    """What a table has on a dataset.

    Attributes:
        table: it.
        data: the name of the dataset.
        rows: of one state, the control first; none where the results cannot stand together.
        missing: runs without a result.
        left_out: stale results, where others of the table are not.
        refused: why the results cannot stand together; None: they can.
    """

    table: Table
    data: str
    rows: list[Row]
    missing: list[Run]
    left_out: list[Result]
    refused: str | None = None


def result_of(run: Run, protocol: Protocol) -> Result | None:
    """Return the result of a run with what is stale in it; None if it was not run.

    Code, settings and protocol are compared with the present ones; data and teacher with the present results of the
    runs that made them.
    """
    content = content_of(run)
    if content is None:
        return None
    present: dict[str, str | None] = dict(plan_of(run, protocol).content["digests"])
    for kind, names in {"prepare": ("data", "test"), "teacher": ("teacher",)}.items():
        made = content_of(Run(kind, run.data))
        if made is not None and kind != run.kind:
            present |= {name: made["digests"][name] for name in names}
    variant = protocol.variants[str(run.variant)] if run.kind == "student" else None
    if variant is not None and variant.tuned and (chosen := content_of(Run("tune", run.data, variant.tuned))):
        present["tuned"] = chosen["digests"]["tuned"]
    if variant is not None and variant.reads_predictions and (files := content_of(Run("predictions", run.data))):
        present["predictions"] = files["digests"]["predictions"]
    recorded = content["digests"]
    stale = {name for name, value in present.items() if recorded.get(name) not in (value, None)}
    if run.kind == "chain" and not _is_present(Run("student", run.data, run.variant, seed=run.seed), content, protocol):
        stale.add("student")
    return Result(run, content, tuple(sorted(stale)))


def _is_present(student: Run, chain: Mapping[str, Any], protocol: Protocol) -> bool:
    """Return whether the present student of a chain is the one that it quantized, and is not stale itself."""
    found = result_of(student, protocol)
    return found is not None and not found.stale and found.digests["weights"] == chain["digests"]["student"]


@dataclass(frozen=True)
class Gathered:
    """The results of runs, of one state if any is present.

    Attributes:
        compared: the present ones; if there are none, the stale ones.
        missing: runs without a result.
        left_out: stale results, where others are present.
    """

    compared: list[Result]
    missing: list[Run]
    left_out: list[Result]


def gathered(wanted: Sequence[Run], protocol: Protocol) -> Gathered:
    """Return the results of runs."""
    found = {run: result for run in wanted if (result := result_of(run, protocol))}
    present = [result for result in found.values() if not result.stale]
    stale = [result for result in found.values() if result.stale]
    missing = [run for run in wanted if run not in found]
    return Gathered(present, missing, stale) if present else Gathered(stale, missing, [])


def rows_of(table: Table, data: str, protocol: Protocol) -> Rows:
    """Return what a table has on a dataset: results of one state alone, the present one if there are any."""
    group = protocol.runs[table.group]
    wanted = [
        Run("student", data, variant, seed=seed) for variant in (table.control, *table.variants) for seed in group.seed
    ]
    found = gathered(wanted, protocol)
    try:
        return Rows(table, data, rows_together(table, found.compared), found.missing, found.left_out)
    except MixedRowsError as error:
        return Rows(table, data, [], found.missing, [*found.compared, *found.left_out], str(error))


def all_labels(data: str, protocol: Protocol) -> list[Result]:
    """Return the present results with all the labels of which a dataset has a part; none if it has all of them.

    There are none, too, if they are not of one state.
    """
    whole = protocol.datasets[data].part_of
    if whole is None:
        return []
    runs = [run for run in students(protocol) if (run.data, run.variant) == (whole, protocol.all_labels)]
    found = [result for run in runs if (result := result_of(run, protocol)) and not result.stale]
    try:
        expect_one_state(found)
    except MixedRowsError:
        return []
    return found


def rows_together(table: Table, results: Iterable[Result]) -> list[Row]:
    """Return a row per variant that has results, the control first.

    Raises:
        MixedRowsError: they are not of one state: they cannot be compared.
    """
    results = list(results)
    expect_one_state(results)
    by_variant = {
        variant: {int(one.run.seed or 0): one for one in results if one.run.variant == variant}
        for variant in (table.control, *table.variants)
    }
    control = {seed: one.scores(table.of_class) for seed, one in by_variant[table.control].items()}
    rows: list[Row] = []
    for variant, found in by_variant.items():
        if found:
            scores = {seed: one.scores(table.of_class) for seed, one in found.items()}
            gained = None if variant == table.control else paired_difference(control, scores)
            rows.append(Row(variant, found, gained))
    return rows


def comparisons(tables: Iterable[Rows]) -> list[tuple[Rows, Row]]:
    """Return the rows that are compared with a control, each once: some stand in several tables beside the same."""
    found: dict[tuple[str, ...], tuple[Rows, Row]] = {}
    for one in tables:
        for row in one.rows:
            if row.gained:
                found.setdefault((one.data, one.table.control, row.variant), (one, row))
    return list(found.values())


def expect_one_state(results: Iterable[Result]) -> None:
    """Check that results may stand in one table.

    All have the same data and protocol, those that the same code computes the same state of it, those with a teacher
    the same one, and the seeds of a variant the same settings.

    Raises:
        MixedRowsError: they may not.
    """
    seen: dict[tuple[str, ...], tuple[str, Run]] = {}
    for one in results:
        keys: dict[str, tuple[str, ...]] = {name: (name,) for name in COMMON}
        if one.digests.get("teacher") is not None:
            keys["teacher"] = ("teacher",)
        keys["code"] = ("code", one.content["computed_by"])
        keys["params"] = ("params", str(one.run.variant), str(one.run.after))
        for name, key in keys.items():
            value = str(one.digests.get(name))
            first, run = seen.setdefault(key, (value, one.run))
            if first != value:
                raise MixedRowsError(f"{one.run.name} and {run.name} differ in {name}: {value} and {first}")
