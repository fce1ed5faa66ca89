"""The runs that the protocol asks for: their names, results, stages in dvc.yaml, and order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks.evidence import RESULTS
from benchmarks.evidence.protocol import Protocol
from src.foundation.errors import UserError


@dataclass(frozen=True)
class Run:
    """A run of a kind: of a dataset, of a student also its variant and seed, of a chain also what follows on it."""

    kind: str
    data: str
    variant: str | None = None
    after: str | None = None
    seed: int | None = None

    @property
    def name(self) -> str:
        """The name of its files, such as student-bccd-teacher-heads-0."""
        return "-".join(str(part) for part in vars(self).values() if part is not None)

    @property
    def result(self) -> Path:
        """The file of its result."""
        return RESULTS / f"{self.name}.json"


def students(protocol: Protocol, group: str | None = None) -> list[Run]:
    """Return the students that the protocol asks for, or those of a group."""
    groups = protocol.runs.values() if group is None else [protocol.runs[group]]
    return [
        Run("student", data, variant, seed=seed)
        for one in groups
        for data in one.data
        for variant in one.variant
        for seed in one.seed
    ]


def chains(protocol: Protocol, group: str | None = None) -> list[Run]:
    """Return the chains that the protocol asks for, or those of a group."""
    groups = protocol.chains.values() if group is None else [protocol.chains[group]]
    return [
        Run("chain", data, student, after, seed)
        for one in groups
        for data in one.data
        for student in one.student
        for after in one.after
        for seed in one.seed
    ]


def used_datasets(protocol: Protocol) -> list[str]:
    """Return the datasets of which there are students."""
    return list(dict.fromkeys(run.data for run in students(protocol)))


def runs(protocol: Protocol) -> list[Run]:
    """Return every run: datasets that are prepared, teachers, students, openings."""
    of_datasets = [Run(kind, data) for kind in ("prepare", "teacher") for data in protocol.datasets]
    trained = [*students(protocol), *chains(protocol)]
    of_chains = [Run("latency", data) for data in protocol.latency.data]
    tuned = [Run("tune", data, method) for data in protocol.tuning.data for method in protocol.tuning.method]
    predicted = [Run("predictions", data) for data in protocol.predictions]
    opened = [Run("opening", data) for data in protocol.sealed.data]
    return [*of_datasets, *predicted, *tuned, *trained, *of_chains, *opened]


def asked(protocol: Protocol, kind: str, arguments: list[str]) -> Run:
    """Return the run that a command line names.

    Raises:
        UserError: the protocol asks for no such run.
    """
    name = "-".join([kind, *arguments])
    for run in runs(protocol):
        if run.name == name:
            return run
    raise UserError(
        f"{name}: the protocol has no such run: choose one of benchmarks/evidence/plan, or edit params.yaml"
    )


def stages(protocol: Protocol) -> dict[str, Run]:
    """Return the stages of dvc.yaml that train or quantize students, by name."""
    groups = {group: students(protocol, group) for group in protocol.runs}
    groups |= {group: chains(protocol, group) for group in protocol.chains}
    return {f"{group}@{run.name.partition('-')[2]}": run for group, found in groups.items() for run in found}


def steps(protocol: Protocol, only: Sequence[str] = ("*",)) -> list[list[str]]:
    """Return the stages of dvc.yaml that train or quantize students, in the order of importance; each stage once.

    Args:
        protocol: of the evidence.
        only: patterns; a stage must fit one of them.
    """
    left = [stage for stage in stages(protocol) if any(fnmatch(stage, pattern) for pattern in only)]
    found = []
    for patterns in [*protocol.order, ["*"]]:
        step = [stage for stage in left if any(fnmatch(stage, pattern) for pattern in patterns)]
        left = [stage for stage in left if stage not in step]
        found += [step] if step else []
    return found


def content_of(run: Run) -> dict[str, Any] | None:
    """Return the result of a run; None if there is none.

    Raises:
        UserError: the file holds no result.
    """
    if not run.result.is_file():
        return None
    try:
        found = json.loads(run.result.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{run.result}: no JSON ({error}): restore it from git, or run its stage again") from error
    if not isinstance(found, dict) or "digests" not in found:
        raise UserError(f"{run.result}: no result of a run: restore it from git, or run its stage again")
    return found
