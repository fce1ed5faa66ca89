"""The protocol in params.yaml, typed."""

from __future__ import annotations

from dataclasses import dataclass, field


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
        reads_predictions: whether it learns from the files that the stage `predictions` wrote of its teacher.
    """

    title: str
    settings: list[str]
    share: float = 1.0
    teachers_epochs: bool = False
    more_epochs: int = 0
    distill_model: bool = False
    tuned: str | None = None
    reads_predictions: bool = False


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
    """The whole of params.yaml.

    Attributes:
        predictions: the datasets whose teacher's predictions are written to files.
        all_labels: the variant with all labels, with which parts of them are compared.
    """

    datasets: dict[str, Dataset] = field(default_factory=dict)
    sealed: Sealed
    teacher: Teacher
    student: Student
    predictions: list[str] = field(default_factory=list)
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
