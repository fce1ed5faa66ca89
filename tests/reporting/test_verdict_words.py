from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from src import PROJECT
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
from src.reporting.verdict_words import WITHOUT_BOXES, failure, headline, objections

FINDINGS: list[Finding] = [
    LargeDrop(0.05, 0.03),
    LowAccuracy(0.4, 0.5),
    LowClassAccuracy("ace", 0.1, 0.2),
    LowClassAccuracy("two", None, 0.2),
    WeakTeacher(0.006, 0.1),
    NothingFound(40, 0.25),
    StillRising("train_teacher", 12, 0.046),
    StillRising("distill", 12, 0.046),
    StillRising("prune", 6, 0.046),
    StudentAboveTeacher(0.805364, 0.784227, 0.010659),
    NoBoxes("train", ["ace"]),
    NoBoxes("val", ["ace"]),
    NoBoxes("test", ["ace"]),
    WithheldLabels(["ace"]),
]


def accuracy(int8: float = 0.757, teacher: float = 0.784) -> dict[str, Any]:
    return {"onnx_int8": {"map50_95": int8}, "teacher": {"map50_95": teacher}}


def line(*findings: Finding, method: str = "static", **scores: float) -> str:
    latency = {"speedup": {"int8_vs_teacher": 8.6}}
    return headline(Verdict(list(findings)), accuracy(**scores), latency, {"method": method})


def test_a_run_without_objections_says_what_it_shows() -> None:
    shown = "INT8 keeps 75.7 of the teacher's 78.4 points of mAP50-95 on test, at 8.60 times the speed"
    assert line() == shown
    assert objections(Verdict([])) == []
    assert failure(Verdict([])) is None


def test_int8_above_its_teacher_keeps_nothing_of_it() -> None:
    assert line(int8=0.8).startswith("INT8 has 80.0, the teacher 78.4 points of mAP50-95 on test, at 8.60")


def test_a_control_is_not_called_int8() -> None:
    assert line(method="fp16").startswith("the control fp16 keeps 75.7")


@pytest.mark.parametrize(
    ("findings", "end"),
    [
        pytest.param([StillRising("prune", 6, 0.046)], "the speed, but 1 objection", id="one"),
        pytest.param([StillRising("prune", 6, 0.046), NoBoxes("val", ["a"])], "the speed, but 2 objections", id="two"),
        pytest.param([LargeDrop(0.05, 0.03)], "the speed, but a gate fails", id="a gate"),
        pytest.param([LargeDrop(0.05, 0.03), NoBoxes("val", ["a"])], "but a gate fails and 1 objection", id="both"),
    ],
)
def test_objections_follow_what_was_shown(findings: list[Finding], end: str) -> None:
    assert line(*findings).startswith("INT8 keeps")
    assert line(*findings).endswith(end)


def test_a_run_that_proves_nothing_shows_no_numbers() -> None:
    assert line(WeakTeacher(0.006, 0.1), StillRising("prune", 6, 0.046)) == "this run proves nothing"
    assert line(NothingFound(40, 0.25)) == "this run proves nothing"
    assert line(LowAccuracy(0.01, 0.5), WeakTeacher(0.006, 0.1)) == "this run proves nothing and a gate fails"


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: repr(finding))
def test_every_objection_is_one_line_that_names_settings_that_exist(finding: Finding) -> None:
    [text] = objections(Verdict([finding]))
    assert "\n" not in text
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    named = re.findall(r"`(\w+)\.(\w+)`", text)
    assert named
    for section, key in named:
        assert key in params[section], f"{section}.{key}"
    for folder in re.findall(r"conf/(\w+)", text):
        assert all("\nweights: " in path.read_text() for path in (PROJECT / "conf" / folder).glob("*.yaml"))


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (
            LargeDrop(0.05, 0.03),
            "INT8 loses 5.0 points of mAP50-95 against ONNX FP32, and `eval_int8.max_drop` allows 3.0",
        ),
        (LowAccuracy(0.4, 0.5), "INT8 has 40.0 points of mAP50-95, and `eval_int8.min_map50_95` asks for 50.0"),
        (LowClassAccuracy("ace", 0.1, 0.2), "INT8 has 10.0 points on the class `ace`"),
        (LowClassAccuracy("two", None, 0.2), "INT8 was not measured on the class `two`"),
        (WeakTeacher(0.006, 0.1), "has learned too little: 0.6 points of mAP50-95 on test, below 10.0"),
        (NothingFound(40, 0.25), "Neither FP32 nor INT8 finds anything at a score of 0.25 in the 40 test images"),
        (
            StillRising("train_teacher", 12, 0.046),
            "epoch is its last, epoch 12, and the last quarter of the epochs added 4.6 points on val. Raise",
        ),
        (StillRising("distill", 12, 0.046), "The student was still rising"),
        (StillRising("prune", 6, 0.046), "Raise `prune.epochs` in params.yaml."),
        (StudentAboveTeacher(0.805364, 0.784227, 0.01), "The student is above its teacher: 80.5 against 78.4 points"),
        (
            StudentAboveTeacher(0.79, 0.78, -0.01),
            "is as good as its teacher: 79.0 against 78.0 points of mAP50-95 on test,",
        ),
        (StudentAboveTeacher(0.79, 0.78, -0.01), "test, within noise. The teacher is not trained out"),
        (NoBoxes("test", ["ace", "two"]), "test has no box of `ace`, `two`."),
        (NoBoxes("train", list("abcdefg")), "train has no box of `a`, `b`, `c`, `d`, `e` and 2 other classes."),
        (WithheldLabels(["ace", "two"]), "The student did not get the labels of `ace`, `two`"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Finding) else "",
)
def test_every_objection_tells_its_facts(finding: Finding, words: str) -> None:
    [text] = objections(Verdict([finding]))
    assert words in text


def test_a_class_missing_in_each_split_has_its_own_advice() -> None:
    assert len(set(WITHOUT_BOXES.values())) == 3
    for split, advice in WITHOUT_BOXES.items():
        [text] = objections(Verdict([NoBoxes(split, ["ace"])]))
        assert text.endswith(advice)


def test_only_gates_fail_and_each_has_a_line() -> None:
    text = failure(Verdict(FINDINGS)) or ""
    lines = text.splitlines()
    assert len(lines) == sum(finding.weight == Weight.FAILS for finding in FINDINGS) == 4
    keys = ["max_drop", "min_map50_95", "min_class_map50_95", "min_class_map50_95"]
    assert [line.split(":")[0] for line in lines] == [f"eval_int8.{key}" for key in keys]
    assert lines[0].count("at most 0.03") == lines[1].count("to reach 0.5") == lines[2].count("the class ace") == 1
    assert "test has no box of it" in lines[3]
    assert failure(Verdict([WeakTeacher(0.006, 0.1), StillRising("prune", 6, 0.046)])) is None


def test_names_of_classes_forge_no_markdown() -> None:
    [text] = objections(Verdict([NoBoxes("test", ["<img src=x>\n# title"])]))
    assert "\n" not in text
    assert "<img" not in text
