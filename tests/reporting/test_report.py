from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from src.evaluation.gate import Gates, gate_passes
from src.evaluation.verdict import LargeDrop, NoBoxes, NothingFound, Verdict
from src.reporting.report import Pictures, write_report

PICTURES = Pictures("pareto.png", "eval_int8/per_class.png", ["eval_int8/worst_1.jpg", "eval_int8/worst_2.jpg"])


def interval(gained: float, low: float, high: float) -> dict[str, float]:
    return {"gained": gained, "low": low, "high": high}


def model(map50_95: float, size_mib: float) -> dict[str, Any]:
    return {
        "map50_95": map50_95,
        "map50": 0.9,
        "per_class": {},
        "parameters": 3_000_000,
        "gflops": 1.5,
        "size_mib": size_mib,
    }


ACCURACY: dict[str, Any] = {
    "teacher": model(0.610, 22.0),
    "student": model(0.489, 6.0),
    "pruned": model(0.481, 4.0),
    "onnx_fp32": model(0.481, 8.0),
    "onnx_int8": model(0.478, 2.0),
    "int8_drop": {"vs_fp32": 0.003, "vs_teacher": 0.132},
    "differences": {
        "student_vs_teacher": interval(-0.121, -0.14, -0.1),
        "pruned_vs_student": interval(-0.008, -0.02, 0.01),
        "fp32_vs_pruned": interval(0.0, -0.001, 0.001),
        "int8_vs_fp32": interval(-0.003, -0.006, -0.001),
    },
    "agreement": {
        "least_score": 0.25,
        "least_iou": 0.5,
        "images": 150,
        "images_with_detections": 150,
        "share_matched": 0.97,
        "mean_matched_iou": 0.953,
        "images_in_full_agreement": 120,
        "worst_images": [],
    },
}
LATENCY: dict[str, Any] = {
    **{
        name: {"p50_ms": ms, "p95_ms": 2 * ms}
        for name, ms in {
            "teacher": 40.0,
            "student": 20.0,
            "pruned": 18.0,
            "onnx_fp32": 6.0,
            "onnx_int8": 3.0,
            "teacher_onnx": 15.0,
            "student_onnx": 5.0,
        }.items()
    },
    "speedup": {"int8_vs_fp32": 2.0, "int8_vs_teacher": 5.0, "pruned_vs_student": 0.833, "student_vs_teacher": 3.0},
    "machine": {
        "cpu": "Fast 9000",
        "flags": ["avx2"],
        "cores": 4,
        "versions": {"torch": "2"},
        "threads": 1,
        "rounds": 9,
        "imgsz": 160,
        "no_energy": "this machine has <no> counter",
    },
}
IN_OPENVINO: dict[str, Any] = {
    **LATENCY,
    "onnx_fp32_openvino": {"p50_ms": 5.5, "p95_ms": 6.0},
    "onnx_int8_openvino": {"p50_ms": 2.0, "p95_ms": 2.5},
    "speedup": {**LATENCY["speedup"], "int8_vs_fp32_openvino": 2.75},
}
UPSTREAM: dict[str, Any] = {
    "distill": {
        "val": {"map50_95": 0.5, "per_class": {"a|b": {"map50": 0.25}}},
        "epochs": 20,
        "notes": ["x"],
        "control": None,
        "withheld_classes": [],
    },
    "quantize": {"method": "static", "target": "onnxruntime"},
}

GATES, UNOPPOSED = Gates(max_drop=0.03), Verdict([])


def page(
    accuracy: dict[str, Any] = ACCURACY,
    latency: dict[str, Any] = LATENCY,
    verdict: Verdict = UNOPPOSED,
    gates: Gates = GATES,
    **quantize: str,
) -> str:
    upstream = {**UPSTREAM, "quantize": {**UPSTREAM["quantize"], **quantize}}
    return write_report(accuracy, latency, upstream, "distill:\n  T: 2.0\n", verdict, gates, PICTURES)


def line(text: str, start: str) -> str:
    [found] = [line for line in text.splitlines() if line.startswith(start)]
    return found


def test_the_page_warns_about_controls_and_other_runtimes() -> None:
    assert "is a control" not in page()
    assert "OpenVINO" not in page()
    note = "The INT8 graph is made for onnxruntime, so it does not reach the best speed in OpenVINO"
    assert line(page(latency=IN_OPENVINO), note)
    for target in ("onnxruntime", "openvino"):  # a control ignores the target
        assert "The INT8 graph is made" not in page(latency=IN_OPENVINO, method="int4", target=target)
    assert "**The last model is a control** (`quantize.method=fp16`)" in page(method="fp16")
    for target in ("openvino", "openvino_amx"):
        note = line(page(target=target), f"**The INT8 graph is made for OpenVINO** (`quantize.target={target}`)")
        assert note.endswith("OpenVINO is not installed: it has no row.")
        note = line(page(latency=IN_OPENVINO, target=target), "**The INT8 graph is made")
        assert note.endswith("The last row is INT8 in OpenVINO.")


def test_the_same_file_is_shown_in_both_runtimes() -> None:
    text = page(latency=IN_OPENVINO)
    found = [row for row in text.splitlines() if row.startswith("| ONNX INT8 ")]
    assert [row.split(" | ")[-3:] for row in found] == [
        ["3.00", "6.00", "onnxruntime |"],
        ["2.00", "2.50", "OpenVINO |"],
    ]
    assert found[0].split(" | ")[:-3] == found[1].split(" | ")[:-3]
    assert line(text, "In OpenVINO, INT8") == "In OpenVINO, INT8 is 2.75 times as fast as FP32."


def test_the_table_has_all_five_models() -> None:
    text = page()
    assert line(text, "| Teacher ") == "| Teacher | 22.00 | 3.00 | 1.50 | 61.0 | 90.0 | 40.00 | 80.00 | torch |"
    assert line(text, "| ONNX INT8 ") == "| ONNX INT8 | 2.00 | 3.00 | 1.50 | 47.8 | 90.0 | 3.00 | 6.00 | onnxruntime |"
    assert "the teacher takes 15.00 ms and the student 5.00 ms" in text


def test_energy_has_a_column_where_it_was_measured_and_else_a_reason() -> None:
    measured = {name: {**of, "energy_mj": 12.345} if "p50_ms" in of else of for name, of in LATENCY.items()}
    text = page(latency={**measured, "machine": {**LATENCY["machine"], "no_energy": None}})
    assert line(text, "| model ").endswith("| p95 ms | mJ | runtime |")
    assert line(text, "| ONNX INT8 ").endswith("| 3.00 | 6.00 | 12.3 | onnxruntime |")
    assert line(text, "mJ is the energy of the processor's packages per image")
    assert "| mJ |" not in page()
    assert line(page(), "The energy") == (
        "The energy per image was not measured: this machine has &#60;no&#62; counter."
    )


def test_steps_show_losses_and_mark_noise() -> None:
    text = page()
    assert line(text, "- **A smaller") == (
        "- **A smaller network** (Teacher to Student): 22.00 to 6.00 MiB; 3.00 times as fast; loses 12.1 points of "
        "mAP50-95 [-14.0, -10.0]."
    )
    pruning = line(text, "- **Pruning")
    assert "**slower**: 0.83 times as fast" in pruning
    assert pruning.endswith("mAP50-95 -0.8 points [-2.0, +1.0], within noise.")
    assert line(text, "- **INT8**").endswith("2.00 times as fast; loses 0.3 points of mAP50-95 [-0.6, -0.1].")
    assert "3.00 times as fast" in line(text, "- **Export")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param((0.021, 0.004, 0.038), "; gains 2.1 points of mAP50-95 [+0.4, +3.8].", id="better on most draws"),
        pytest.param((-0.042, -0.05, -0.03), "; loses 4.2 points of mAP50-95 [-5.0, -3.0].", id="worse on most draws"),
        pytest.param((0.039, -0.01, 0.09), "; mAP50-95 +3.9 points [-1.0, +9.0], within noise.", id="better on many"),
        pytest.param((0.0, 0.0, 0.0), "; mAP50-95 +0.0 points [+0.0, +0.0], within noise.", id="the same"),
    ],
)
def test_a_change_is_a_gain_or_loss_only_if_its_interval_excludes_zero(
    change: tuple[float, float, float], words: str
) -> None:
    differences = {**ACCURACY["differences"], "pruned_vs_student": interval(*change)}
    assert line(page({**ACCURACY, "differences": differences}), "- **Pruning").endswith(words)


def test_a_page_with_a_control_shows_what_the_soft_targets_gained() -> None:
    assert "Not known: no control was trained." in page()
    accuracy = {**ACCURACY, "control": model(0.45, 6.0)}
    accuracy["differences"] = {**ACCURACY["differences"], "student_vs_control": interval(0.039, 0.02, 0.06)}
    distill = {**UPSTREAM["distill"], "control": {"val": {"map50_95": 0.46}}}
    text = write_report(accuracy, LATENCY, {**UPSTREAM, "distill": distill}, "a: 1", UNOPPOSED, GATES, PICTURES)
    assert "| labels alone | 46.0 | 45.0 |\n| labels and soft targets | 50.0 | 48.9 |" in text
    assert "the soft targets: gains 3.9 points of mAP50-95 [+2.0, +6.0]. One seed was trained: sweep" in text
    assert "Not known" not in text
    accuracy["differences"]["student_vs_control"] = interval(0.039, -0.02, 0.06)
    text = write_report(accuracy, LATENCY, {**UPSTREAM, "distill": distill}, "a: 1", UNOPPOSED, GATES, PICTURES)
    assert "the soft targets: mAP50-95 +3.9 points [-2.0, +6.0], within noise. One seed" in text


@pytest.mark.parametrize(
    ("speedup", "words"),
    [
        pytest.param(1.02, "about as fast (1.02 times, within noise)", id="hardly faster"),
        pytest.param(0.98, "about as fast (0.98 times, within noise)", id="hardly slower"),
        pytest.param(1.1, "1.10 times as fast", id="faster"),
        pytest.param(0.5, "**slower**: 0.50 times as fast", id="slower"),
    ],
)
def test_speed_in_words(speedup: float, words: str) -> None:
    latency = deepcopy(LATENCY)
    latency["speedup"]["pruned_vs_student"] = speedup
    assert words in line(page(latency=latency), "- **Pruning")


@pytest.mark.parametrize(
    ("drop", "passes", "words"),
    [
        pytest.param(0.003, True, "Gate: passed. INT8 may lose 3.0 points", id="small"),
        pytest.param(0.03, True, "it lost 3.0.", id="just the gate"),
        pytest.param(0.031, False, "Gate: **FAILED**", id="too large"),
        pytest.param(-0.01, True, "it gained 1.0.", id="a gain"),
    ],
)
def test_the_gate(drop: float, passes: bool, words: str) -> None:
    accuracy = {**ACCURACY, "int8_drop": {"vs_fp32": drop, "vs_teacher": 0.1}}
    assert gate_passes(drop, 0.03) is passes
    assert words in page(accuracy, verdict=UNOPPOSED if passes else Verdict([LargeDrop(drop, 0.03)]))


def test_the_smallest_accuracies_are_shown_where_they_are_set() -> None:
    assert "It needs" not in page()
    assert "It needs 45.0; it has 47.8. It needs 20.0 on each class." in page(gates=Gates(0.03, 0.45, 0.2))


def test_a_page_that_proves_nothing_says_so_wherever_it_could_be_misread() -> None:
    agreement = {**ACCURACY["agreement"], "images_with_detections": 0, "share_matched": None, "mean_matched_iou": None}
    verdict = Verdict([NothingFound(150, 0.25)])
    text = page({**ACCURACY, "agreement": agreement}, verdict=verdict)
    assert text.startswith("# Verdict: this run proves nothing\n\n- Neither FP32 nor INT8 finds anything")
    assert "Gate: passed, which shows nothing." in text
    for section in ("Cost and gain of each step", "What distillation gained"):
        assert f"## {section}\n\nThese changes show nothing: see the verdict.\n" in text
    assert (
        "Neither model finds anything at a score of 0.25 in the 150 test images: there is nothing to agree on." in text
    )
    assert "100.0%" not in text
    for words in ("proves nothing", "shows nothing", "show nothing", "Neither model"):
        assert words not in page()


def test_images_in_which_neither_model_finds_anything_are_counted() -> None:
    agreement = {**ACCURACY["agreement"], "images_with_detections": 120}
    text = page({**ACCURACY, "agreement": agreement})
    assert "On 120 of 150 test images, on average 97.0% of an image's" in text
    assert "all detections match. In the others neither model finds anything." in text


def test_agreement_pictures_settings_and_earlier_metrics_are_on_the_page() -> None:
    text = page()
    assert "on average 97.0% of an image's detections (score at least 0.25) match" in text
    assert "mean IoU of the pairs is 0.953. In 120 images all detections match." in text
    for link in ("pareto.png", "eval_int8/per_class.png", *PICTURES.worst):
        assert f"]({link})" in text
    assert "```yaml\ndistill:\n  T: 2.0\n```" in text
    assert "| `val.map50_95` | 0.5 |" in text
    assert "| <code>val.per_class.a&#124;b.map50</code> | 0.25 |" in text
    assert "| `target` | `onnxruntime` |" in text
    assert "notes" not in text
    assert "Fast 9000 (avx2; 4 cores), 1 thread(s), 9 rounds" in text


def test_a_page_shows_the_accuracy_on_classes_that_the_student_was_not_told() -> None:
    assert "withheld" not in page()

    def knows(**per_class: float) -> dict[str, Any]:
        return {**model(0.5, 6.0), "per_class": {name: {"map50_95": value} for name, value in per_class.items()}}

    accuracy = {**ACCURACY, "teacher": knows(six=0.7), "student": knows(six=0.612), "control": knows(six=0.001)}
    accuracy["differences"] = {**ACCURACY["differences"], "student_vs_control": interval(0.039, 0.02, 0.06)}
    distill = {**UPSTREAM["distill"], "withheld_classes": ["six", "two"]}
    for control in (None, {"val": {"map50_95": 0.46}}):
        upstream = {**UPSTREAM, "distill": {**distill, "control": control}}
        text = write_report(accuracy, LATENCY, upstream, "a: 1", UNOPPOSED, GATES, PICTURES)
        assert "did not get the labels of these classes (`distill.withheld_classes`), nor did the control." in text
        assert "| class | teacher | student | control |" in text
        assert "| `six` | 70.0 | 61.2 | 0.1 |\n| `two` | no box | no box | no box |" in text


FORGED = ["=cmd()", "a|b", "<img src=x>", "\x1b[31mred", "a\n| b | 1 |", "`code`", "a\\|b", "[a](http://x)", "\u202eb"]


def test_no_name_forges_markdown_or_an_escape_of_the_terminal() -> None:
    per_class = {name: {"map50": 0.125} for name in FORGED}
    upstream = {
        **UPSTREAM,
        "distill": {"val": {"per_class": per_class, "name": FORGED[3]}, "control": None, "withheld_classes": []},
    }
    latency = {**LATENCY, "machine": {**LATENCY["machine"], "cpu": "Fast <b>9000</b>\n# title"}}
    settings_yaml = "# ```\n# <b>\x1b[31m\na: 1"
    text = write_report(ACCURACY, latency, upstream, settings_yaml, Verdict([NoBoxes("test", FORGED)]), GATES, PICTURES)

    body, settings = text.split("## Settings\n\n")
    rows = [line for line in body.splitlines() if line.endswith("| 0.125 |")]
    assert len(rows) == len(FORGED)
    for row in rows:
        assert row.count("|") == 3
        assert not set("<>\\") & set(row.replace("<code>", "").replace("</code>", ""))
        assert row.count("`") in (0, 2)
    assert all(one.isprintable() or one == "\n" for one in text)
    assert "<b>" not in body
    assert "Fast &#60;b&#62;9000&#60;/b&#62;" in body
    assert "\n# title" not in body
    assert settings == "````yaml\n# ```\n# <b>\\x1b[31m\na: 1\n````\n"


def test_a_page_without_pairs_and_pictures() -> None:
    accuracy = {**ACCURACY, "agreement": {**ACCURACY["agreement"], "mean_matched_iou": None}}
    text = write_report(accuracy, LATENCY, UPSTREAM, "a: 1", UNOPPOSED, GATES, Pictures("p.png", "c.png", []))
    assert "There are no pairs." in text
    assert "images with the least agreement" not in text


def test_every_table_row_has_as_many_cells_as_its_header() -> None:
    width = None
    for row in page().splitlines():
        if not row.startswith("|"):
            width = None
            continue
        cells = row.replace(r"\|", "").count("|")
        width = width or cells
        assert cells == width
