"""From the results of chains to the rows of a table: INT8 beside its own float network, and beside the control."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.evidence.intervals import paired_difference
from benchmarks.evidence.measuring import from_text
from benchmarks.evidence.protocol import ChainTable, Protocol
from benchmarks.evidence.rows import MixedRowsError, Result, expect_one_state, gathered
from benchmarks.evidence.runs import Run, chains
from src.evaluation.bootstrap import Difference, Scores

FP32, INT8 = "fp32", "int8"


@dataclass(frozen=True)
class ChainRow:
    """A student and what followed on it, over seeds.

    Attributes:
        name: `<student>/<after>`.
        results: by seed.
        rounding: INT8 against its own float network.
        gained: INT8 against the control's; None for the control, or with fewer than two common seeds.
    """

    name: str
    results: Mapping[int, Result]
    rounding: Difference | None
    gained: Difference | None

    @property
    def stale(self) -> tuple[str, ...]:
        """What differs from the present, of any of its results."""
        return tuple(sorted({reason for result in self.results.values() for reason in result.stale}))

    def percent(self, network: str) -> list[float]:
        """Return test mAP50-95 of a network, by seed."""
        return [100 * result.content[network]["test"]["map50_95"] for _, result in sorted(self.results.items())]

    def size_mib(self, network: str) -> float:
        """Return the mean size of a network's file."""
        return statistics.mean(result.content[network]["size_mib"] for result in self.results.values())


@dataclass(frozen=True)
class ChainRows:
    """What a table about chains has on a dataset; see `rows.Rows`."""

    table: ChainTable
    data: str
    rows: list[ChainRow]
    missing: list[Run]
    left_out: list[Result]
    refused: str | None = None


def chain_rows_of(table: ChainTable, data: str, protocol: Protocol) -> ChainRows:
    """Return what a table has on a dataset: results of one state alone, the present one if there are any."""
    names = [table.control, *table.rows]
    wanted = [run for run in chains(protocol) if run.data == data and name_of(run) in names]
    found = gathered(wanted, protocol)
    try:
        rows = chain_rows_together(table, found.compared)
        return ChainRows(table, data, rows, found.missing, found.left_out)
    except MixedRowsError as error:
        return ChainRows(table, data, [], found.missing, [*found.compared, *found.left_out], str(error))


def chain_rows_together(table: ChainTable, results: Iterable[Result]) -> list[ChainRow]:
    """Return a row per chain that has results, the control first.

    Raises:
        MixedRowsError: they are not of one state: they cannot be compared.
    """
    results = list(results)
    expect_one_state(results)
    control = _scores(_by_seed(results, table.control), INT8)
    rows = []
    for name in (table.control, *table.rows):
        found = _by_seed(results, name)
        if found:
            int8 = _scores(found, INT8)
            gained = None if name == table.control else paired_difference(control, int8)
            rows.append(ChainRow(name, found, paired_difference(_scores(found, FP32), int8), gained))
    return rows


def name_of(run: Run) -> str:
    """Return the name of a chain in tables."""
    return f"{run.variant}/{run.after}"


def _by_seed(results: Iterable[Result], name: str) -> dict[int, Result]:
    return {int(one.run.seed or 0): one for one in results if name_of(one.run) == name}


def _scores(results: Mapping[int, Result], network: str) -> dict[int, Scores]:
    found = {seed: one.content[network] for seed, one in results.items()}
    return {seed: from_text(one["test"]["map50_95"], one["draws"]) for seed, one in found.items()}
