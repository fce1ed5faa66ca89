"""The protocol in params.yaml, typed, and the runs that it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.evidence import EVIDENCE, RESULTS
from src.foundation.errors import UserError

PARAMS = EVIDENCE / "params.yaml"


@dataclass(kw_only=True)
class Dataset:
    """A dataset.

    Attributes:
        title: for people.
        root: its folder, from the root of the project.
        prepare: overrides of prepare-labels.
        train: overrides of every stage that trains on it.
        epochs: of a student.
        teacher: overrides of its teacher.
        part_of: the dataset with all the labels; None: this one has them.
    """

    title: str
    root: str
    prepare: list[str]
    train: list[str]
    epochs: int
    teacher: list[str] = field(default_factory=list)
    part_of: str | None = None


@dataclass(kw_only=True)
class Sealed:
    """The part of each test split that is read once, after all choices.

    Attributes:
        share: of the test images.
        seed: of the choice.
        open: whether it is read.
        data: the datasets of which it is.
        variants: that are measured on it, the control first.
    """

    share: float
    seed: int
    open: bool
    data: list[str]
    variants: list[str]


@dataclass(kw_only=True)
class Teacher:
    """The training of each dataset's teacher: overrides, the most epochs, and those without a rise that end it."""

    settings: list[str]
    epochs: int
    patience: int


@dataclass(kw_only=True)
class Student:
    """Overrides of every student."""

    settings: list[str]


@dataclass(kw_only=True)
class Variant:
    """A way to train a student.

    Attributes:
        title: for people.
        settings: overrides of distill-student.
        share: of the dataset's epochs.
        teachers_epochs: whether it is trained for as many more epochs as its teacher was.
        more_epochs: that it is trained besides, such as those of the pruning that it is compared with.
        distill_model: whether ultralytics' own distillation trains it; it has the setting `dis`, its weight, besides.
        tuned: the method of `tuning` that chooses more of its settings; None: it is not tuned.
    """

    title: str
    settings: list[str]
    share: float = 1.0
    teachers_epochs: bool = False
    more_epochs: int = 0
    distill_model: bool = False
    tuned: str | None = None


@dataclass(kw_only=True)
class Method:
    """What is tuned: a variant, and the overrides of each try."""

    variant: str
    tries: list[list[str]]


@dataclass(kw_only=True)
class Tuning:
    """The choice of settings on val, by as many tries for each method.

    Attributes:
        share: of the dataset's epochs, of a try.
        seed: of all tries; no run that is compared has it.
        data: the datasets on which methods are tuned.
        method: those that are.
        methods: all of them, by name.
    """

    share: float
    seed: int
    data: list[str]
    method: list[str]
    methods: dict[str, Method]


@dataclass(kw_only=True)
class After:
    """What follows on the training of a student: to ONNX and INT8.

    Attributes:
        title: for people.
        prune: overrides of prune; None: it is not pruned.
        quantize: overrides of quantize.
        rival: a tool of `benchmarks.evidence.chain.RIVALS` that quantizes in place of this project.
    """

    title: str
    prune: list[str] | None = None
    quantize: list[str] = field(default_factory=list)
    rival: str | None = None


@dataclass(kw_only=True)
class Group:
    """A group of stages in dvc.yaml: one for each combination."""

    data: list[str]
    variant: list[str]
    seed: list[int]


@dataclass(kw_only=True)
class Chains:
    """A group of stages in dvc.yaml that quantize: one for each combination of data, student, what follows and seed."""

    data: list[str]
    student: list[str]
    after: list[str]
    seed: list[int]


@dataclass(kw_only=True)
class Latencies:
    """Of which datasets' chains latencies are measured, in how many processes, with how many rounds in each."""

    data: list[str]
    processes: int
    rounds: int


@dataclass(kw_only=True)
class ChainTable:
    """A table of the page about chains, named `<student>/<after>`; each is compared with the control."""

    title: str
    control: str
    rows: list[str]


@dataclass(kw_only=True)
class Table:
    """A table of the page, one for each dataset of its group: variants beside their control.

    `of_class`: the class that it compares, by name; None: mAP of all classes.
    """

    title: str
    group: str
    control: str
    variants: list[str]
    of_class: str | None = None


@dataclass(kw_only=True)
class Protocol:
    """The whole of params.yaml. `all_labels`: the variant with all labels, with which parts of them are compared."""

    datasets: dict[str, Dataset] = field(default_factory=dict)
    sealed: Sealed
    teacher: Teacher
    student: Student
    variants: dict[str, Variant] = field(default_factory=dict)
    tuning: Tuning
    after: dict[str, After] = field(default_factory=dict)
    runs: dict[str, Group] = field(default_factory=dict)
    chains: dict[str, Chains] = field(default_factory=dict)
    latency: Latencies
    tables: list[Table] = field(default_factory=list)
    chain_tables: list[ChainTable] = field(default_factory=list)
    all_labels: str
    order: list[list[str]] = field(default_factory=list)


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


def load(path: Path = PARAMS) -> Protocol:
    """Return the protocol.

    Raises:
        UserError: it cannot be read, has an unknown key or a wrong type, or names what it does not define.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Protocol), OmegaConf.load(path))
        protocol: Any = OmegaConf.to_object(merged)
    except (OSError, OmegaConfBaseException) as error:
        raise UserError(f"{path.name} of the evidence: {' '.join(str(error).split())}") from error
    faults = list(_faults(protocol))
    if faults:
        raise UserError("\n".join(f"{path.name} of the evidence: {fault}" for fault in faults))
    return protocol


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
    return [*of_datasets, *tuned, *trained, *of_chains, *(Run("opening", data) for data in protocol.sealed.data)]


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


def _faults(protocol: Protocol) -> Iterator[str]:
    for name, group in protocol.runs.items():
        yield from (f"runs.{name}: {data} is not in datasets" for data in group.data if data not in protocol.datasets)
        yield from (f"runs.{name}: {one} is not in variants" for one in group.variant if one not in protocol.variants)
    in_chains = {data for chain in protocol.chains.values() for data in chain.data}
    yield from (
        f"latency.data: {one} is in no group of chains" for one in protocol.latency.data if one not in in_chains
    )
    for name, chain in protocol.chains.items():
        yield from (f"chains.{name}: {one} is not in after" for one in chain.after if one not in protocol.after)
    for run in chains(protocol):
        if Run("student", run.data, run.variant, seed=run.seed) not in students(protocol):
            yield f"chains: {run.name} needs {run.variant}-{run.seed} of {run.data}, which is in no group of runs"
    yield from _faults_of_tuning(protocol)
    known = {f"{run.variant}/{run.after}" for run in chains(protocol)}
    for number, shown in enumerate(protocol.chain_tables):
        yield from (
            f"chain_tables.{number}: {one} is in no group of chains"
            for one in (shown.control, *shown.rows)
            if one not in known
        )
    for index, table in enumerate(protocol.tables):
        if table.group not in protocol.runs:
            yield f"tables.{index}: {table.group} is not in runs"
            continue
        trained = {(run.data, run.variant) for run in students(protocol)}
        for variant in (table.control, *table.variants):
            for data in protocol.runs[table.group].data:
                if (data, variant) not in trained:
                    yield f"tables.{index}: {variant} of {data} is in no group of runs"
    chosen = {"sealed.variants": protocol.sealed.variants, "all_labels": [protocol.all_labels]}
    for key, variants in chosen.items():
        yield from (f"{key}: {one} is not in variants" for one in variants if one not in protocol.variants)
    yield from (
        f"sealed.data: {one} is not in datasets" for one in protocol.sealed.data if one not in protocol.datasets
    )
    for name, dataset in protocol.datasets.items():
        if dataset.part_of is not None and dataset.part_of not in protocol.datasets:
            yield f"datasets.{name}.part_of: {dataset.part_of} is not in datasets"
    seen: dict[str, str] = {}
    for named in protocol.runs:
        for run in students(protocol, named):
            if seen.setdefault(run.name, named) != named:
                yield f"runs: {run.name} is in {seen[run.name]} and in {named}"


def _faults_of_tuning(protocol: Protocol) -> Iterator[str]:
    tuning = protocol.tuning
    yield from (f"tuning.data: {one} is not in datasets" for one in tuning.data if one not in protocol.datasets)
    yield from (f"tuning.method: {one} is not in tuning.methods" for one in tuning.method if one not in tuning.methods)
    tries = {name: len(method.tries) for name, method in tuning.methods.items()}
    if len(set(tries.values())) > 1:
        yield f"tuning.methods: all must have the same number of tries, found {tries}"
    for name, method in tuning.methods.items():
        if method.variant not in protocol.variants:
            yield f"tuning.methods.{name}: {method.variant} is not in variants"
    for run in students(protocol):
        if run.seed == tuning.seed:
            yield f"tuning.seed: {run.name} has it, too: choose another one"
        method = protocol.variants[run.variant].tuned if run.variant in protocol.variants else None
        if method is not None and (run.data not in tuning.data or method not in tuning.method):
            yield f"runs: {run.name} is tuned by {method}, which tuning does not ask for on {run.data}"
