from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src import calibrate, eval_int8, quantize
from src.config.eval_int8 import EvalInt8
from src.deployment.forwards import HAS_OPENVINO
from src.detector.accuracy import Accuracy, ClassAccuracy, ImageMatches
from src.evaluation.bootstrap import Scores
from src.evaluation.latency import Latency
from src.foundation.errors import UserError
from src.workflow.stage_files import StageFiles
from tests.evaluation.test_bootstrap import image
from tests.quantization.networks import IMGSZ, Log, tiny_project
from tests.test_calibrate import PARAMS as CALIBRATE
from tests.test_quantize import PARAMS as QUANTIZE

pytestmark = pytest.mark.slow

PARAMS = EvalInt8(
    imgsz=IMGSZ,
    device="cpu",
    threads=1,
    precision="float32",
    workers=0,
    max_drop=0.03,
    min_map50_95=None,
    min_class_map50_95=None,
    latency_rounds=2,
    latency_threads=1,
    pictures=2,
)
SCORES = {
    "teacher.pt": 0.61,
    "student.pt": 0.49,
    "control.pt": 0.45,
    "pruned.pt": 0.48,
    "pruned.onnx": 0.48,
    "int8.onnx": 0.46,
}


def known_accuracy(
    detector: Path, data_yaml: Path, *, split: str, imgsz: int, device: str
) -> tuple[Accuracy, list[ImageMatches]]:
    """Replace the validator: these networks are untrained, so their real scores are 0."""
    assert (split, imgsz) == ("test", IMGSZ)
    score = SCORES[detector.name]
    found = [image([0], (0.9, 0, round(10 * score))), image([0], (0.8, 0, round(10 * score))), image([0])]
    return Accuracy(score, 0.9, 0.8, 0.7, {"cell": ClassAccuracy(score, 0.9)}), found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_project(tmp_path_factory.mktemp("eval"))
    calibrate.run(CALIBRATE, StageFiles("calibrate", root, root), Log())
    quantize.run(QUANTIZE, StageFiles("quantize", root, root), Log())
    return root


@pytest.fixture(autouse=True, scope="module")
def _known_accuracies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eval_int8, "validate_by_image", known_accuracy)
        yield


@pytest.fixture(scope="module")
def results(project: Path) -> dict[str, Any]:
    result = eval_int8.run(PARAMS, StageFiles("eval_int8", project, project), Log())
    assert result.failure is None
    return dict(result.metrics)


def test_all_five_models_are_measured_and_reported(project: Path, results: dict[str, Any]) -> None:
    assert list(results) == [*eval_int8.MODELS, "control", "differences", "int8_drop", "agreement", "verdict"]
    json.dumps(results, allow_nan=False)
    for name in (*eval_int8.MODELS, "control"):
        assert set(results[name]) == {
            "map50_95",
            "map50_95_interval",
            "map50",
            "per_class",
            "parameters",
            "gflops",
            "size_mib",
        }
    assert results["int8_drop"] == {"vs_fp32": 0.02, "vs_teacher": 0.15}
    assert results["onnx_int8"]["parameters"] == results["pruned"]["parameters"]
    assert results["agreement"]["images"] == 3
    assert len(results["agreement"]["worst_images"]) == 2

    latency = json.loads((project / "reports/latency.json").read_text())
    for name in (*eval_int8.MODELS, "teacher_onnx", "student_onnx"):
        assert 0 < latency[name]["p50_ms"] <= latency[name]["p95_ms"]
        assert ("energy_mj" in latency[name]) == (latency["machine"]["no_energy"] is None)
    for suffix in ("", "_openvino") if HAS_OPENVINO else ("",):
        fp32, int8 = (latency[f"{name}{suffix}"]["p50_ms"] for name in ("onnx_fp32", "onnx_int8"))
        assert latency["speedup"][f"int8_vs_fp32{suffix}"] == pytest.approx(fp32 / int8, abs=0.001)
    assert latency["machine"]["threads"] == 1

    page = (project / "reports/report.md").read_text()
    for link in ("pareto.png", "eval_int8/per_class.png"):
        assert f"]({link})" in page
        assert (project / "reports" / link).is_file()


def test_the_student_is_compared_with_its_control_on_the_same_images(project: Path, results: dict[str, Any]) -> None:
    assert set(results["differences"]) == set(eval_int8.COMPARED)
    of_control = results["differences"]["student_vs_control"]
    # Two of three boxes are found, by the student at one IoU of ten more.
    assert of_control["gained"] == pytest.approx(0.665 / 10)
    assert 0 <= of_control["low"] < of_control["gained"] < of_control["high"]
    assert results["differences"]["int8_vs_teacher"]["gained"] < 0
    page = (project / "reports/report.md").read_text()
    assert "| labels alone | 45.0 | 45.0 |" in page
    assert "| labels and soft targets | 50.0 | 49.0 |" in page


def test_without_a_control_the_student_is_compared_with_its_teacher_alone() -> None:
    scores = {name: Scores(0.5, np.zeros(4)) for name in eval_int8.MODELS}
    assert set(eval_int8._differences(scores)) == set(eval_int8.COMPARED) - {"student_vs_control"}


def test_detectors_that_find_nothing_prove_nothing(project: Path, results: dict[str, Any]) -> None:
    """These networks are untrained. The gate passes all the same: the accuracies are made up."""
    assert results["agreement"]["share_matched"] is None
    assert results["verdict"]["objections"] == 1
    [finding] = results["verdict"]["findings"]
    assert (finding["finding"], finding["images"], finding["least_score"]) == ("NothingFound", 3, 0.25)
    page = (project / "reports/report.md").read_text()
    assert page.startswith("# Verdict: this run proves nothing\n\n- Neither FP32 nor INT8 finds anything")
    assert "100.0%" not in page


def test_a_drop_above_the_gate_fails_with_the_same_reports(
    project: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    log = Log()
    result = eval_int8.run(replace(PARAMS, max_drop=0.01), StageFiles("eval_int8", project, tmp_path), log)
    assert result.failure
    assert ({"verdict": "this run proves nothing and a gate fails"},) in log.of("tags")
    assert re.search(r"eval_int8\.max_drop: expected .* at most 0\.01 .* it lost 0\.02", result.failure)
    assert "Gate: **FAILED**" in (tmp_path / "reports/report.md").read_text()
    # Everything except the latencies and the verdict is the same on every run.
    assert {**result.metrics, "verdict": results["verdict"]} == results
    assert [one["finding"] for one in result.metrics["verdict"]["findings"]] == ["LargeDrop", "NothingFound"]
    for name in ("eval_int8/per_class.png", "eval_int8/worst_1.jpg", "eval_int8/worst_2.jpg"):
        assert (tmp_path / "reports" / name).read_bytes() == (project / "reports" / name).read_bytes(), name


def test_another_size_than_the_exported_one_is_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"imgsz must be {IMGSZ}, as pruned\.onnx was exported for it, got 96"):
        eval_int8.run(replace(PARAMS, imgsz=96), StageFiles("eval_int8", project, tmp_path), Log())


def test_a_damaged_network_is_an_error(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    network = tmp_path / "project/models/int8.onnx"
    network.write_bytes(network.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"int8\.onnx: not a network in ONNX"):
        eval_int8.run(PARAMS, StageFiles("eval_int8", tmp_path / "project", tmp_path), Log())


def test_models_of_other_classes_are_an_error(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "project")
    (tmp_path / "project/data/prepared/data.yaml").write_text("names: {0: cat, 1: dog, 2: cow}\n")
    with pytest.raises(UserError, match=r"models/teacher\.pt: has the classes class 0, class 1; the dataset has"):
        eval_int8.run(PARAMS, StageFiles("eval_int8", tmp_path / "project", tmp_path), Log())


def test_every_model_is_timed_with_the_threads_of_the_setting(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(eval_int8, "onnx_forward", lambda path, image, threads: asked.append(threads))
    monkeypatch.setattr(eval_int8, "torch_forward", lambda path, image: None)

    def by_runtime(path: Path, image: object, threads: int) -> dict[str, object]:
        asked.append(threads)
        return {"onnxruntime": None}

    def measured(forwards: dict[str, object], rounds: int) -> dict[str, Latency]:
        asked.append(torch.get_num_threads())
        return {name: Latency(1.0, 1.0) for name in forwards}

    monkeypatch.setattr(eval_int8, "forwards_by_runtime", by_runtime)
    monkeypatch.setattr(eval_int8, "measure", measured)
    monkeypatch.setattr(eval_int8, "measure_energy", lambda forwards: dict.fromkeys(forwards, 1.5))
    params = replace(PARAMS, threads=1, latency_threads=3)
    eval_int8.run(params, StageFiles("eval_int8", project, tmp_path), Log())
    assert asked == [3] * 5, "four networks in onnxruntime, and torch in the measurement"
    latency = json.loads((tmp_path / "reports/latency.json").read_text())
    assert latency["machine"]["threads"] == 3
    assert latency["onnx_int8"] == {"p50_ms": 1.0, "p95_ms": 1.0, "energy_mj": 1.5}
    assert "| 1.00 | 1.00 | 1.5 | onnxruntime |" in (tmp_path / "reports/report.md").read_text()
