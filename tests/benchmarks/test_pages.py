"""The tables of the benchmarks: from measured numbers to rows."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from benchmarks import (
    budget,
    first_run,
    growth,
    precision,
    saturation,
    searching,
    speed,
    steps,
    targets,
)
from benchmarks.parts import NETWORK, PARTS
from benchmarks.reliability import __main__ as reliability
from benchmarks.reliability.victim import Attempt
from src.evaluation.latency import Latency
from tests.quantization.networks import single_convolution


def row(page: str, title: str) -> list[str]:
    """Return the cells of the only row of a table whose first cells are `title`."""
    [line] = [line for line in page.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.removeprefix(f"| {title} |").strip(" |").split("|")]


def test_budget_pairs_the_seeds_of_chain_and_search() -> None:
    pairs = [
        (budget.Detector("the default chain", 0.5, 2.0), budget.Detector("yolov8n relu", 0.52, 1.9)),
        (budget.Detector("the default chain", 0.6, 2.0), budget.Detector("yolov8n", 0.61, 2.0)),
    ]
    page = budget.page("bccd", "A teacher.", ["imgsz=[320]"], pairs)
    assert "| 0 | yolov8n relu | 52.0 | 1.90 |" in page
    assert "Default chain 55.0 ± 7.1, found 56.5 ± 6.4." in page
    assert "interval: +1.5 [-4.9, +7.9], within noise." in page


def test_saturation_compares_the_instructions_by_file() -> None:
    scores = {"all": {"FP32": 0.75, "a": 0.74}, "AVX2": {"FP32": 0.75, "a": 0.70}}
    page = saturation.page(scores, "0123")
    assert row(page, "a") == ["74.00", "70.00", "-4.00"]
    assert row(page, "FP32") == ["75.00", "75.00", "+0.00"]


@pytest.mark.parametrize(
    ("in_bfloat16", "verdict"),
    [
        pytest.param([0.52, 0.61, 0.72], "+1.7 [+0.2, +3.1], told from noise", id="always better"),
        pytest.param([0.52, 0.58, 0.71], "+0.3 [-4.8, +5.5], within noise", id="better or worse"),
    ],
)
def test_precision_pairs_the_seeds(in_bfloat16: list[float], verdict: str) -> None:
    of = {"float32": [0.5, 0.6, 0.7], "bfloat16": in_bfloat16}
    page = precision.page({"BCCD": {key: [{"map50_95": value} for value in values] for key, values in of.items()}})
    assert row(page, "BCCD")[:2] == ["3", "60.0 ± 10.0"]
    assert row(page, "BCCD")[3] == verdict


def test_steps_compare_medians_with_the_first_of_their_kind() -> None:
    precisions = {
        ("yolov8n", "float32"): [0.2, 0.1, 0.9],
        ("yolov8n", "bfloat16"): [0.1, 0.1, 0.1],
        ("yolov8s", "float32"): [0.4],
        ("yolov8s", "bfloat16"): [0.1],
    }
    distilling = {"ours": [0.3, 0.3], steps.PLAIN: [0.2, 0.2]}
    parts = {"student": {**dict.fromkeys(PARTS, 0.0), NETWORK: 6.0, "loading": 3.0, "validation": 1.0}}
    epochs = {"0a1b2c3": [4.0, 6.0, 5.0], "now": [2.0, 2.5, 9.0]}
    found = steps.Found(precisions, distilling, parts, {steps.ONE_BY_ONE: 200.0, "a sweep": 150.0}, epochs)
    page = steps.page(found)
    assert row(page, "yolov8n | float32") == ["200", "1.00"]
    assert row(page, "yolov8n | bfloat16") == ["100", "0.50"]
    assert row(page, "yolov8s | bfloat16") == ["100", "0.25"]
    assert row(page, "ours") == ["300", "1.50"]
    assert row(page, "student") == ["10", "60%", "30%", "0%", "10%", "0%", "0%", "40%"]
    assert row(page, "now") == ["2.5", "2.00"]
    assert row(page, "a sweep") == ["150", "0.75"]
    assert "## Sweeps" not in steps.page(steps.Found(precisions, distilling))


def test_a_search_is_compared_with_the_grid() -> None:
    grid = searching.Found(["T=1", "alpha=0.5"], 0.8, 12, 0, 72, 400.0)
    found = {searching.GRID: grid, "search, seed 0": searching.Found(["T=1.5", "alpha=0.4"], 0.81, 6, 2, 30, 180.0)}
    page = searching.page(found, {searching.GRID: [0.7, 0.72, 0.74], "search, seed 0": [0.71, 0.73, 0.76]})
    sweep, *_ = [line for line in page.splitlines() if line.startswith("| search, seed 0 | 6 |")]
    assert sweep == "| search, seed 0 | 6 | 2 | 30 | 180 | 0.45 | T=1.5, alpha=0.4 | 81.0 |"
    assert "| search, seed 0 | 73.3 ± 2.5 | +1.3 [-0.1, +2.8], within noise |" in page


def test_reliability_counts_losses_by_fault_and_place() -> None:
    attempts = [
        Attempt("killed", "prune", "SIGKILL after 1 s", []),
        Attempt("killed", "prune", "SIGTERM after 2 s", ["models/pruned.pt differs", "a traceback"]),
        Attempt("a full disk", "store", "16 KiB", []),
    ]
    page = reliability.page(attempts)
    assert row(page, "killed | prune") == ["2", "1"]
    assert row(page, "a full disk | store") == ["1", "0"]
    assert "3 faults, 1 with a loss" in page
    assert "- killed, prune, SIGTERM after 2 s: models/pruned.pt differs; a traceback" in page
    assert "## Lost" not in reliability.page(attempts[:1])


def test_targets_have_their_figures_or_the_reason() -> None:
    latency, agreement = {"latency": {"p50_ms": 2.0}}, {"agreement": {"share_matched": 0.984}, "size_mib": 1.6}
    fp32 = {"val": {"map50_95": 0.7513}, "size_mib": 5.88, "latency": {"p50_ms": 4.0}}
    good = {"drop": 0.0021, **agreement, **latency, "foreign": None, "fault": None}
    bad = {"drop": 0.0061, **agreement, **latency, "foreign": "the time of a simulator", "fault": None}
    fault = {"foreign": None, "fault": "litert: 2 learned convolutions stay in float"}
    columns = [
        targets.Column("yolov8n", fp32, {"integer": good, "litert": good}, busy=False),
        targets.Column("yolo11n", fp32, {"integer": bad, "litert": fault}, busy=True),
    ]
    ground = targets.Ground("digits", {}, 12)
    page = targets.page(
        ground, columns, ["integer", "litert", "ncnn"], {"ncnn": "not installed: ncnn"}, {"yolo26n": "x"}
    )
    assert row(page, "ONNX FP32: mAP50-95, MiB, ms") == ["75.13, 5.88, 4.00", "75.13, 5.88, 4.00"]
    assert row(page, "integer") == ["0.21, 98.4 %, 1.60, 2.00", "0.61, 98.4 %, 1.60, 2.00 (*)"]
    assert row(page, "litert") == ["0.21, 98.4 %, 1.60, 2.00", "none"]
    assert row(page, "ncnn") == ["none", "none"]
    assert "at most 0.5 points below FP32: missed by yolo11n (0.61)." in page
    assert "- `integer`: the time of a simulator" in page
    assert "- `litert` of yolo11n: 2 learned convolutions stay in float" in page
    assert "- `ncnn`: not installed: ncnn" in page
    assert "- `yolo26n`: x" in page
    assert "12 epochs" in page
    only = targets.page(ground, columns[:1], ["integer"], {}, {})
    assert "reached by every student" in only
    assert "No file" not in only
    assert "busy" not in only
    assert "The machine was busy during yolo11n: " in page


def test_growth_compares_the_smallest_with_the_largest() -> None:
    page = growth.page({"sweep": {10: growth.Cost(20.0, 512.0), 100: growth.Cost(300.0)}})
    assert row(page, "10") == ["20.00", "2000.00", "512"]
    assert row(page, "100")[:2] == ["300.00", "3000.00"]
    assert "10 times as many take 15.0 times as long: it grows faster than the work." in page


def test_speed_compares_with_fp32(tmp_path: Path) -> None:
    model, _, _ = single_convolution()
    networks = {speed.FP32: tmp_path / "fp32.onnx", "INT8": tmp_path / "int8.onnx"}
    for path in networks.values():
        onnx.save(model, path)
    variants = {name: speed.Variant(path, "onnxruntime") for name, path in networks.items()}
    page = speed.table(speed.rows(variants, {speed.FP32: Latency(6.0, 7.0), "INT8": Latency(2.0, 9.0)}))
    assert row(page, speed.FP32) == ["6.00", "1.00", "1.00", "0"]
    assert row(page, "INT8") == ["2.00", "3.00", "1.00", "0"]


def test_first_run_adds_the_stages_up() -> None:
    page = first_run.page(
        2, {"prune": 90.0, "quantize": 30.0}, {"`dvc repro`": 1.25}, {"prune": 3.5}, ["models/pruned.pt"]
    )
    assert row(page, "prune") == ["1.5"]
    assert row(page, "together") == ["2.0"]
    assert row(page, "`dvc repro`") == ["1.2"]
    assert row(page, "`python -m src.prune`, from the process to its first work") == ["3.5"]
    assert "2 processors" in page
    assert "Of other bytes than dvc.lock of the commit records: models/pruned.pt." in page
