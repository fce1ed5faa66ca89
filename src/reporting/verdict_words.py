"""The verdict on a run in words: one line for the run, and one for each objection with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.evaluation.verdict import (
    Finding,
    LargeDrop,
    LowAccuracy,
    LowClassAccuracy,
    NoBoxes,
    NothingFound,
    StillRising,
    StudentAboveTeacher,
    Verdict,
    WeakTeacher,
    Weight,
    WithheldLabels,
)
from src.reporting.escaping import code

MOST_NAMES = 5
"""Of classes in one line; the others are counted."""

NETWORKS = {
    "train_teacher": ("teacher", "teacher"),
    "distill": ("student", "student"),
    "prune": ("pruned student", None),
}
"""What a stage trains, and the folder of conf/ whose files can name initial weights for it."""

WITHOUT_BOXES = {
    "train": "The detectors cannot learn them: label images of them in the folder `data.root`.",
    "val": "No choice of epochs and settings heeds them: label images of them in the folder `data.root`, or raise "
    "`prepare_labels.val_fraction` where images are divided by seed.",
    "test": "Nothing is known of their accuracy: label images of them in the folder `data.root`, or raise "
    "`prepare_labels.test_fraction` where images are divided by seed.",
}


def headline(
    verdict: Verdict, accuracy: Mapping[str, Any], latency: Mapping[str, Any], quantize: Mapping[str, Any]
) -> str:
    """Return the verdict in one line.

    Args:
        verdict: all findings.
        accuracy: the content of reports/eval_int8.json.
        latency: the content of reports/latency.json.
        quantize: the report of quantize: the last model may be a control.
    """
    from src.config.quantize import WITHOUT_RANGES  # here: it needs onnx, and the words of gates need nothing

    failed = "a gate fails" if verdict.fails else ""
    if verdict.proves_nothing:
        return " and ".join(filter(None, ["this run proves nothing", failed]))
    last, teacher = accuracy["onnx_int8"]["map50_95"], accuracy["teacher"]["map50_95"]
    method, speedup = quantize["method"], latency["speedup"]["int8_vs_teacher"]
    name = f"the control {method}" if method in WITHOUT_RANGES else "INT8"
    points = (
        f"keeps {_points(last)} of the teacher's {_points(teacher)}"
        if last <= teacher
        else f"has {_points(last)}, the teacher {_points(teacher)}"
    )
    shown = f"{name} {points} points of mAP50-95 on test, at {speedup:.2f} times the speed"
    others = [finding for finding in verdict.findings if finding.weight != Weight.FAILS]
    count = f"{len(others)} objection{'s' if len(others) > 1 else ''}" if others else ""
    against = " and ".join(filter(None, [failed, count]))
    return f"{shown}, but {against}" if against else shown


def objections(verdict: Verdict) -> list[str]:
    """Return a line of Markdown for each finding: what was found, and what to do about it."""
    return [_objection(finding) for finding in verdict.findings]


def failure(verdict: Verdict) -> str | None:
    """Return a line for each gate that fails; None if all pass."""
    lines = [_failure(finding) for finding in verdict.findings if finding.weight == Weight.FAILS]
    return "\n".join(lines) or None


def _objection(finding: Finding) -> str:
    match finding:
        case LargeDrop():
            return (
                f"The gate fails: INT8 loses {_points(finding.drop)} points of mAP50-95 against ONNX FP32, and "
                f"`eval_int8.max_drop` allows {_points(finding.max_drop)}. Change the settings of `calibrate` or "
                "`quantize`; `quantize.max_drop` searches for them."
            )
        case LowAccuracy():
            return (
                f"The gate fails: INT8 has {_points(finding.map50_95)} points of mAP50-95, and "
                f"`eval_int8.min_map50_95` asks for {_points(finding.least)}. Raise `train_teacher.epochs` and "
                "`distill.epochs`, or lower `prune.ratio`."
            )
        case LowClassAccuracy():
            has = f"has {_points(finding.map50_95)} points" if finding.map50_95 is not None else "was not measured"
            return (
                f"The gate fails: INT8 {has} on the class {code(finding.name)}, and `eval_int8.min_class_map50_95` "
                f"asks for {_points(finding.least)}. Label more images of it in the folder `data.root`."
            )
        case WeakTeacher():
            return (
                f"The teacher has learned too little: {_points(finding.map50_95)} points of mAP50-95 on test, below "
                f"{_points(finding.least)}. {_train_longer('train_teacher')}"
            )
        case NothingFound():
            return (
                f"Neither FP32 nor INT8 finds anything at a score of {finding.least_score} in the {finding.images} "
                "test images: their agreement shows nothing. Raise `train_teacher.epochs`, `distill.epochs` and "
                "`prune.epochs`."
            )
        case StillRising():
            name, _ = NETWORKS[finding.stage]
            return (
                f"The {name} was still rising: its best epoch is its last, epoch {finding.epochs}, and the last "
                f"quarter of the epochs added {_points(finding.late_gain)} points on val. "
                f"{_train_longer(finding.stage)}"
            )
        case StudentAboveTeacher():
            above, noise = ("as good as", ", within noise") if finding.low <= 0 else ("above", "")
            return (
                f"The student is {above} its teacher: {_points(finding.student)} against {_points(finding.teacher)} "
                f"points of mAP50-95 on test{noise}. The teacher is not trained out: raise `train_teacher.epochs`, or "
                "choose a larger one (`choices.teacher`)."
            )
        case NoBoxes():
            return f"{finding.split} has no box of {_names(finding.classes)}. {WITHOUT_BOXES[finding.split]}"
        case WithheldLabels():
            return (
                f"The student did not get the labels of {_names(finding.classes)} (`distill.withheld_classes`): its "
                "accuracy on them comes from its teacher. Later trainings get all labels, so only the student and its "
                "control show it. For a detector to deploy, empty the list."
            )
        case _:
            raise AssertionError(f"no words for {finding}")


def _failure(finding: Finding) -> str:
    match finding:
        case LargeDrop():
            return (
                f"eval_int8.max_drop: expected INT8 to lose at most {finding.max_drop} of mAP50-95 against ONNX FP32 "
                f"on test, but it lost {finding.drop}: see reports/report.md, then change the settings of calibrate or "
                "quantize"
            )
        case LowAccuracy():
            return (
                f"eval_int8.min_map50_95: expected INT8 to reach {finding.least} of mAP50-95 on test, but it reached "
                f"{finding.map50_95}: see reports/report.md"
            )
        case LowClassAccuracy():
            has = "test has no box of it" if finding.map50_95 is None else f"it reached {finding.map50_95}"
            return (
                f"eval_int8.min_class_map50_95: expected INT8 to reach {finding.least} of mAP50-95 on test for the "
                f"class {finding.name}, but {has}: see reports/report.md"
            )
        case _:
            raise AssertionError(f"{finding} is no gate")


def _train_longer(stage: str) -> str:
    _, group = NETWORKS[stage]
    pretrained = (
        f", or start from pretrained weights: key `weights` of the file in conf/{group} that `choices.{group}` names"
        if group
        else ""
    )
    return f"Raise `{stage}.epochs` in params.yaml{pretrained}."


def _names(classes: Sequence[str]) -> str:
    named = [code(name) for name in classes[:MOST_NAMES]]
    others = len(classes) - len(named)
    return ", ".join(named) + (f" and {others} other classes" if others else "")


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
