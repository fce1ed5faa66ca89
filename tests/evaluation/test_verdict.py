from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from src.evaluation.gate import Gates
from src.evaluation.verdict import (
    LEAST_TEACHER,
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
    WithheldLabels,
    judge,
)

ACCURACY: dict[str, Any] = {
    "teacher": {"map50_95": 0.6},
    "student": {"map50_95": 0.55},
    "onnx_int8": {"map50_95": 0.5, "per_class": {"ace": {"map50_95": 0.4}, "two": {"map50_95": 0.6}}},
    "differences": {"student_vs_teacher": {"low": -0.08}},
    "int8_drop": {"vs_fp32": 0.01},
    "agreement": {"images": 40, "images_with_detections": 38, "least_score": 0.25},
}
BOXES = {"train": 9, "val": 2, "test": 3}
REPORTS: dict[str, Any] = {
    "prepare_labels": {"classes": {"ace": {"boxes": BOXES}, "two": {"boxes": BOXES}}},
    "train_teacher": {"best_epoch": 11, "epochs": 12, "late_gain": 0.046},
    "distill": {"best_epoch": 10, "epochs": 12, "late_gain": 0.046, "withheld_classes": []},
    "prune": {"best_epoch": 5, "epochs": 6, "late_gain": 0.046},
}
GATES = Gates(max_drop=0.03)


def changed(of: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return nested values with one of them changed."""
    copy = deepcopy(of)
    *groups, key = path.split(".")
    at = copy
    for group in groups:
        at = at[group]
    at[key] = value
    return copy


def test_a_good_run_has_no_findings() -> None:
    verdict = judge(ACCURACY, REPORTS, GATES)
    assert verdict.findings == []
    assert not verdict.fails
    assert not verdict.proves_nothing
    assert verdict.facts == {"objections": 0, "findings": []}


@pytest.mark.parametrize(
    ("path", "value", "finding"),
    [
        ("accuracy.int8_drop.vs_fp32", 0.031, LargeDrop(0.031, 0.03)),
        ("accuracy.teacher.map50_95", 0.006, WeakTeacher(0.006, LEAST_TEACHER)),
        ("accuracy.agreement.images_with_detections", 0, NothingFound(40, 0.25)),
        ("accuracy.student.map50_95", 0.601, StudentAboveTeacher(0.601, 0.6, -0.08)),
        ("reports.train_teacher.best_epoch", 12, StillRising("train_teacher", 12, 0.046)),
        ("reports.distill.best_epoch", 12, StillRising("distill", 12, 0.046)),
        ("reports.prune.best_epoch", 6, StillRising("prune", 6, 0.046)),
        ("reports.prepare_labels.classes.two.boxes", {**BOXES, "train": 0}, NoBoxes("train", ["two"])),
        ("reports.prepare_labels.classes.two.boxes", {**BOXES, "val": 0}, NoBoxes("val", ["two"])),
        ("reports.prepare_labels.classes.two.boxes", {**BOXES, "test": 0}, NoBoxes("test", ["two"])),
        ("reports.distill.withheld_classes", ["two"], WithheldLabels(["two"])),
    ],
    ids=lambda value: repr(value) if isinstance(value, Finding) else "",
)
def test_every_fact_alone_is_found(path: str, value: Any, finding: Finding) -> None:
    facts = changed({"accuracy": ACCURACY, "reports": REPORTS}, path, value)
    found = judge(facts["accuracy"], facts["reports"], GATES).findings
    expected = [finding]
    if isinstance(finding, WeakTeacher):
        expected.append(StudentAboveTeacher(0.55, 0.006, -0.08))
    assert found == expected


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        pytest.param(Gates(0.03, min_map50_95=0.5), [], id="just reached"),
        pytest.param(Gates(0.03, min_map50_95=0.51), [LowAccuracy(0.5, 0.51)], id="not reached"),
        pytest.param(Gates(0.03, min_class_map50_95=0.4), [], id="each class just reaches it"),
        pytest.param(Gates(0.03, min_class_map50_95=0.5), [LowClassAccuracy("ace", 0.4, 0.5)], id="one class does not"),
    ],
)
def test_a_smallest_accuracy_is_a_gate_where_it_is_set(gates: Gates, expected: list[Finding]) -> None:
    verdict = judge(ACCURACY, REPORTS, gates)
    assert verdict.findings == expected
    assert verdict.fails is bool(expected)


def test_a_class_that_was_not_measured_does_not_pass_its_gate() -> None:
    reports = changed(REPORTS, "prepare_labels.classes.six", {"boxes": {**BOXES, "test": 0}})
    found = judge(ACCURACY, reports, Gates(0.03, min_class_map50_95=0.0)).findings
    assert found == [LowClassAccuracy("six", None, 0.0), NoBoxes("test", ["six"])]


def test_the_smallest_accuracy_of_int8_is_also_that_of_a_teacher() -> None:
    weak = changed(changed(ACCURACY, "teacher.map50_95", 0.05), "student.map50_95", 0.04)
    weak["onnx_int8"]["map50_95"] = 0.04
    assert judge(weak, REPORTS, Gates(0.03, min_map50_95=0.02)).findings == []
    assert judge(weak, REPORTS, Gates(0.03, min_map50_95=0.06)).proves_nothing


def test_the_facts_are_plain_json_with_their_names() -> None:
    verdict = Verdict([NoBoxes("test", ["ace"]), WeakTeacher(0.006, 0.1)])
    assert json.loads(json.dumps(verdict.facts)) == {
        "objections": 2,
        "findings": [
            {"finding": "NoBoxes", "weight": "the run proves less", "split": "test", "classes": ["ace"]},
            {"finding": "WeakTeacher", "weight": "the run proves nothing", "map50_95": 0.006, "least": 0.1},
        ],
    }
