"""What speaks against a run of the pipeline: findings on its accuracies and its trainings, as facts without words.

A gate compares INT8 with FP32 alone, so it passes where nothing was learned: two detectors that find nothing agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar

from src.evaluation.gate import Gates, gate_passes

LEAST_TEACHER = 0.1
"""mAP50-95 on test below which a teacher has learned too little where no limit is set. A network that was hardly
trained is near 0; on the hardest public sets (VisDrone) small detectors reach about 0.2."""

TRAININGS = ("train_teacher", "distill", "prune")
"""The stages whose outputs are trained in every run."""


class Weight(StrEnum):
    """How much a finding speaks against a run."""

    FAILS = "a gate fails"
    PROVES_NOTHING = "the run proves nothing"
    WEAKENS = "the run proves less"


@dataclass(frozen=True)
class Finding:
    """Something that speaks against a run."""

    weight: ClassVar[Weight] = Weight.WEAKENS

    @property
    def facts(self) -> dict[str, Any]:
        """The name of the finding, and its facts."""
        return {"finding": type(self).__name__, "weight": self.weight.value, **asdict(self)}


@dataclass(frozen=True)
class LargeDrop(Finding):
    """INT8 loses more mAP50-95 against FP32 than its gate allows."""

    weight = Weight.FAILS
    drop: float
    max_drop: float


@dataclass(frozen=True)
class LowAccuracy(Finding):
    """INT8 has less mAP50-95 than its gate asks for."""

    weight = Weight.FAILS
    map50_95: float
    least: float


@dataclass(frozen=True)
class LowClassAccuracy(Finding):
    """INT8 has less mAP50-95 on a class than its gate asks for; None: test has no box of the class."""

    weight = Weight.FAILS
    name: str
    map50_95: float | None
    least: float


@dataclass(frozen=True)
class WeakTeacher(Finding):
    """The teacher has learned too little to teach, and to be compared with."""

    weight = Weight.PROVES_NOTHING
    map50_95: float
    least: float


@dataclass(frozen=True)
class NothingFound(Finding):
    """Neither FP32 nor INT8 finds anything at the score: they agree on nothing."""

    weight = Weight.PROVES_NOTHING
    images: int
    least_score: float


@dataclass(frozen=True)
class StillRising(Finding):
    """The best epoch of a stage's training is its last, so more epochs may be better.

    `late_gain` is what the last quarter of the epochs added to val mAP50-95.
    """

    stage: str
    epochs: int
    late_gain: float


@dataclass(frozen=True)
class StudentAboveTeacher(Finding):
    """The student has more mAP50-95 on test than its teacher; `low` is the lower end of the difference's interval."""

    student: float
    teacher: float
    low: float


@dataclass(frozen=True)
class NoBoxes(Finding):
    """A split has no box of some classes."""

    split: str
    classes: list[str]


@dataclass(frozen=True)
class WithheldLabels(Finding):
    """The student did not get the labels of some classes."""

    classes: list[str]


@dataclass(frozen=True)
class Verdict:
    """All that speaks against a run, the gravest first.

    >>> Verdict([StillRising("prune", 6, 0.01)]).proves_nothing, Verdict([WeakTeacher(0.006, 0.1)]).proves_nothing
    (False, True)
    """

    findings: list[Finding]

    @property
    def fails(self) -> bool:
        """Whether a gate fails."""
        return any(finding.weight == Weight.FAILS for finding in self.findings)

    @property
    def proves_nothing(self) -> bool:
        """Whether no comparison of the run shows anything."""
        return any(finding.weight == Weight.PROVES_NOTHING for finding in self.findings)

    @property
    def facts(self) -> dict[str, Any]:
        """The number of findings, and each with its facts."""
        return {"objections": len(self.findings), "findings": [finding.facts for finding in self.findings]}


def judge(accuracy: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]], gates: Gates) -> Verdict:
    """Return all findings on a run.

    Args:
        accuracy: the accuracies of the models on test, their `differences`, `int8_drop` and `agreement`.
        reports: of the earlier stages, by stage.
        gates: the limits of INT8.
    """
    classes = reports["prepare_labels"]["classes"]
    least = LEAST_TEACHER if gates.min_map50_95 is None else gates.min_map50_95
    findings: list[Finding] = [
        *failed_gates(accuracy["onnx_int8"], accuracy["int8_drop"]["vs_fp32"], list(classes), gates),
        *weak_teacher(accuracy["teacher"]["map50_95"], least),
        *nothing_found(accuracy["agreement"]),
        *still_rising({stage: reports[stage] for stage in TRAININGS}),
        *student_above_teacher(
            accuracy["student"]["map50_95"],
            accuracy["teacher"]["map50_95"],
            accuracy["differences"]["student_vs_teacher"]["low"],
        ),
        *no_boxes(classes),
        *withheld_labels(reports["distill"]["withheld_classes"]),
    ]
    return Verdict(findings)


def failed_gates(int8: Mapping[str, Any], drop: float, classes: list[str], gates: Gates) -> list[Finding]:
    """Return the gates that fail, each class by itself.

    Args:
        int8: `map50_95`, and `per_class` for the classes that test has boxes of.
        drop: of mAP50-95 against FP32.
        classes: the names of all classes.
        gates: the limits.

    >>> failed_gates({"map50_95": 0.4, "per_class": {}}, 0.01, [], Gates(max_drop=0.03, min_map50_95=0.5))
    [LowAccuracy(map50_95=0.4, least=0.5)]
    """
    found: list[Finding] = []
    if not gate_passes(drop, gates.max_drop):
        found.append(LargeDrop(drop, gates.max_drop))
    if gates.min_map50_95 is not None and int8["map50_95"] < gates.min_map50_95:
        found.append(LowAccuracy(int8["map50_95"], gates.min_map50_95))
    if (least := gates.min_class_map50_95) is not None:
        reached = {name: of["map50_95"] for name, of in int8["per_class"].items()}
        found += [LowClassAccuracy(name, reached.get(name), least) for name in classes if reached.get(name, -1) < least]
    return found


def weak_teacher(map50_95: float, least: float) -> list[Finding]:
    """Return a finding if a teacher has learned too little.

    >>> weak_teacher(0.006, least=0.1), weak_teacher(0.1, least=0.1)
    ([WeakTeacher(map50_95=0.006, least=0.1)], [])
    """
    return [WeakTeacher(map50_95, least)] if map50_95 < least else []


def nothing_found(agreement: Mapping[str, Any]) -> list[Finding]:
    """Return a finding if neither of two detectors finds anything in any image.

    >>> nothing_found({"images": 40, "images_with_detections": 0, "least_score": 0.25})
    [NothingFound(images=40, least_score=0.25)]
    """
    if agreement["images_with_detections"]:
        return []
    return [NothingFound(agreement["images"], agreement["least_score"])]


def still_rising(trainings: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return a finding for each training whose best epoch is its last.

    Args:
        trainings: by stage, `best_epoch`, the number of `epochs`, and `late_gain`. One that stopped early had its best
            before.

    >>> risen = {"best_epoch": 4, "epochs": 4, "late_gain": 0.02}
    >>> still_rising({"distill": risen, "prune": {**risen, "best_epoch": 3}})
    [StillRising(stage='distill', epochs=4, late_gain=0.02)]
    """
    return [
        StillRising(stage, of["epochs"], of["late_gain"])
        for stage, of in trainings.items()
        if of["best_epoch"] == of["epochs"]
    ]


def student_above_teacher(student: float, teacher: float, low: float) -> list[Finding]:
    """Return a finding if a student has more mAP50-95 than its teacher.

    >>> student_above_teacher(0.805, 0.784, 0.011), student_above_teacher(0.7, 0.7, -0.01)
    ([StudentAboveTeacher(student=0.805, teacher=0.784, low=0.011)], [])
    """
    return [StudentAboveTeacher(student, teacher, low)] if student > teacher else []


def no_boxes(classes: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return a finding for each split without a box of some classes.

    Args:
        classes: by name, the number of `boxes` by split.

    >>> no_boxes({"ace": {"boxes": {"train": 9, "test": 0}}, "two": {"boxes": {"train": 9, "test": 1}}})
    [NoBoxes(split='test', classes=['ace'])]
    """
    splits = dict.fromkeys(split for of in classes.values() for split in of["boxes"])
    missing = {split: [name for name, of in classes.items() if not of["boxes"][split]] for split in splits}
    return [NoBoxes(split, names) for split, names in missing.items() if names]


def withheld_labels(classes: list[str]) -> list[Finding]:
    """Return a finding if the labels of some classes were withheld from the student.

    >>> withheld_labels([]), withheld_labels(["3"])
    ([], [WithheldLabels(classes=['3'])])
    """
    return [WithheldLabels(classes)] if classes else []
