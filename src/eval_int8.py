"""eval-int8: measures all models on the test images, from the teacher to INT8, judges the run, and applies the gates.

Reads the models and metrics of all stages, params.yaml (to show it) and data/prepared. Writes reports/eval_int8.json
(accuracy; the same on every run), reports/latency.json, reports/pareto.png and reports/report.md (they contain timings,
so they differ on every run), and pictures in reports/eval_int8. The gates: if INT8 loses more than `max_drop`, or is
below a smallest accuracy that is set, the stage fails after everything is written.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("eval_int8")

import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src.config.eval_int8 import EvalInt8
from src.config.stages import STAGES
from src.deployment.export import expect_size, export_onnx
from src.deployment.forwards import forwards_by_runtime, onnx_forward, torch_forward
from src.deployment.images import load_image
from src.detector.accuracy import Accuracy, validate_by_image
from src.detector.checkpoint import load_detector
from src.detector.complexity import complexity
from src.detector.dataset import expect_classes, view_of
from src.detector.runtime import settle
from src.evaluation.agreement import LEAST_IOU, Agreement, compare, summarize, worst_first
from src.evaluation.bootstrap import Scores, difference, score
from src.evaluation.detections import LEAST_SCORE, detect
from src.evaluation.energy import NoCounterError, measure_energy
from src.evaluation.latency import measure, torch_threads
from src.evaluation.machine import describe_machine
from src.evaluation.speedups import speedups
from src.evaluation.verdict import Verdict, judge
from src.foundation.atomic import whole_folder, write_json, write_text
from src.foundation.digests import digest
from src.foundation.image_size import ImageSize, as_setting
from src.foundation.pipeline import CONTROL, CONTROL_WEIGHTS, FLOAT_ONNX, INT8_ONNX, PREPARED, PRUNED, STUDENT, TEACHER
from src.foundation.prepared import class_names, images_of
from src.reporting.accuracy_plots import draw_per_class, draw_story
from src.reporting.report import Pictures, write_report
from src.reporting.side_by_side import Half, side_by_side
from src.reporting.verdict_words import failure, headline, objections
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

MODELS = {
    "teacher": TEACHER,
    "student": STUDENT,
    "pruned": PRUNED,
    "onnx_fp32": FLOAT_ONNX,
    "onnx_int8": INT8_ONNX,
}
COMPARED = {
    "student_vs_teacher": ("teacher", "student"),
    "student_vs_control": ("control", "student"),
    "pruned_vs_student": ("student", "pruned"),
    "fp32_vs_pruned": ("pruned", "onnx_fp32"),
    "int8_vs_fp32": ("onnx_fp32", "onnx_int8"),
    "int8_vs_teacher": ("teacher", "onnx_int8"),
}
"""What is compared with what before it, on the same images."""

EARLIER_STAGES = STAGES[:-1]
MIB = 2**20

_logger = logging.getLogger(__name__)


def run(params: EvalInt8, files: StageFiles, log: Run) -> StageResult:
    """Measure all models, judge the run and write the reports; return the accuracies, and why a gate fails."""
    device = settle(params.device, params.cpu_threads)
    models = {name: files.read(path) for name, path in MODELS.items()}
    for name in ("onnx_fp32", "onnx_int8"):
        expect_size(models[name], params.imgsz)
    prepared = files.read(PREPARED)
    log.dataset("prepared", digest(prepared), PREPARED, {"split": "test"})
    images = images_of(prepared, "test")
    control = files.read(CONTROL) / CONTROL_WEIGHTS
    measured = {**models, "control": control} if control.exists() else models
    metrics, scores = _accuracies(measured, prepared, params.imgsz, device)
    metrics["differences"] = _differences(scores)
    metrics["int8_drop"] = {
        f"vs_{other}": round(metrics[name]["map50_95"] - metrics["onnx_int8"]["map50_95"], 6)
        for other, name in {"fp32": "onnx_fp32", "teacher": "teacher"}.items()
    }
    with whole_folder(files.write("reports/eval_int8")) as pictures:
        metrics["agreement"] = _agreement(models, images, class_names(prepared), params, pictures)
        draw_per_class({name: metrics[name] for name in MODELS}, pictures / "per_class.png")
    latency = _latencies(models, load_image(images[0], params.imgsz), params)
    log.metrics({"latency": latency})
    upstream = _reports_of_earlier_stages(files)
    verdict = judge(metrics, upstream, params.gates)
    metrics["verdict"] = verdict.facts
    _tell(verdict, headline(verdict, metrics, latency, upstream["quantize"]), log)
    _write_reports(metrics, latency, upstream, verdict, params, files)
    for name in ("reports/eval_int8", "reports/pareto.png", "reports/report.md"):
        log.artifact(files.outputs[name], folder="report")
    return StageResult(metrics, failure(verdict))


def _reports_of_earlier_stages(files: StageFiles) -> dict[str, dict[str, Any]]:
    return {name: json.loads(files.read(f"reports/{name}.json").read_text(encoding="utf-8")) for name in EARLIER_STAGES}


def _tell(verdict: Verdict, line: str, log: Run) -> None:
    """Record the verdict, and show it on the screen with all objections."""
    log.tags({"verdict": line})
    _logger.info("verdict: %s", line)
    for objection in objections(verdict):
        _logger.warning("%s", objection)


def _accuracies(
    models: Mapping[str, Path], prepared: Path, imgsz: ImageSize, device: str
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """Return the accuracy and the size of each model, and its scores on draws of the images."""
    results, scores = {}, {}
    with view_of(prepared) as data_yaml:
        for name, path in models.items():
            # Both ONNX files have the layers, and so the classes and the complexity, of the pruned network.
            checkpoint = path if path.suffix == ".pt" else models["pruned"]
            network = load_detector(checkpoint)
            expect_classes(network, class_names(prepared), checkpoint)
            accuracy, matches = validate_by_image(path, data_yaml, split="test", imgsz=imgsz, device=device)
            scores[name] = score(matches)
            counted = complexity(network, imgsz)
            results[name] = {
                "map50_95": accuracy.map50_95,
                "map50_95_interval": scores[name].interval,
                "map50": accuracy.map50,
                "per_class": _per_class(accuracy),
                "parameters": counted.parameters,
                "gflops": counted.gflops,
                "size_mib": round(path.stat().st_size / MIB, 4),
            }
    return results, scores


def _differences(scores: Mapping[str, Scores]) -> dict[str, Any]:
    return {
        name: asdict(difference(scores[before], scores[after]))
        for name, (before, after) in COMPARED.items()
        if before in scores
    }


def _per_class(accuracy: Accuracy) -> dict[str, dict[str, float]]:
    return {name: {"map50_95": of.map50_95, "map50": of.map50} for name, of in accuracy.per_class.items()}


def _agreement(
    models: Mapping[str, Path], images: Sequence[Path], names: Sequence[str], params: EvalInt8, pictures: Path
) -> dict[str, Any]:
    """Compare the detections of FP32 and INT8 in each image, and draw the images on which they agree least."""
    fp32, int8 = (
        detect(models[name], images, imgsz=params.imgsz, threads=params.cpu_threads)
        for name in ("onnx_fp32", "onnx_int8")
    )
    pairs = tqdm(zip(images, fp32, int8, strict=True), "comparing", len(images), unit="image")
    detections = {image: (first, second) for image, first, second in pairs}
    agreements = {image.name: compare(first, second, LEAST_IOU) for image, (first, second) in detections.items()}
    worst = worst_first(agreements)[: params.pictures]
    by_name = {image.name: image for image in images}
    for number, name in enumerate(worst, start=1):
        first, second = detections[by_name[name]]
        alone = agreements[name].alone
        halves = [Half(f"{name}  FP32", first, alone[0]), Half("INT8", second, alone[1])]
        side_by_side(by_name[name], halves, names, pictures / f"worst_{number}.jpg")
    return {
        "least_score": LEAST_SCORE,
        "least_iou": LEAST_IOU,
        **summarize(agreements),
        "worst_images": [_row(name, agreements[name]) for name in worst],
    }


def _row(name: str, agreement: Agreement) -> dict[str, Any]:
    mean_iou = agreement.mean_iou
    return {
        "image": name,
        "share_matched": None if agreement.share is None else round(agreement.share, 6),
        "mean_matched_iou": None if mean_iou is None else round(mean_iou, 6),
    }


def _latencies(models: Mapping[str, Path], image: NDArray[np.float32], params: EvalInt8) -> dict[str, Any]:
    """Time the five models, and teacher and student also as ONNX, so that one runtime compares all networks.

    If OpenVINO is installed, it also runs the two ONNX files, under names such as `onnx_int8_openvino`.
    """
    threads = params.latency_threads
    forwards = {name: torch_forward(path, image) for name, path in models.items() if path.suffix == ".pt"}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("teacher", "student"):
            exported = Path(folder) / f"{name}.onnx"
            export_onnx(models[name], exported, params.imgsz)
            forwards[f"{name}_onnx"] = onnx_forward(exported, image, threads)
        for name in ("onnx_fp32", "onnx_int8"):
            for runtime, forward in forwards_by_runtime(models[name], image, threads).items():
                forwards[name if runtime == "onnxruntime" else f"{name}_{runtime}"] = forward
        # After the exports: ultralytics sets torch's number of threads in each.
        with torch_threads(threads):
            latency = measure(forwards, params.latency_rounds)
            energy, no_energy = _energy(forwards)
    machine = {
        **describe_machine(),
        "threads": threads,
        "rounds": params.latency_rounds,
        "imgsz": as_setting(params.imgsz),
    }
    return {
        **{name: {"p50_ms": of.p50_ms, "p95_ms": of.p95_ms} | energy[name] for name, of in latency.items()},
        "speedup": speedups({name: of.p50_ms for name, of in latency.items()}),
        "machine": {**machine, "no_energy": no_energy},
    }


def _energy(forwards: Mapping[str, Callable[[], object]]) -> tuple[dict[str, dict[str, float]], str | None]:
    """Return the energy per image of each model; where it cannot be measured nothing, and why."""
    try:
        return {name: {"energy_mj": mj} for name, mj in measure_energy(forwards).items()}, None
    except NoCounterError as error:
        return {name: {} for name in forwards}, str(error)


def _write_reports(
    metrics: dict[str, Any],
    latency: dict[str, Any],
    upstream: dict[str, dict[str, Any]],
    verdict: Verdict,
    params: EvalInt8,
    files: StageFiles,
) -> None:
    write_json(files.write("reports/latency.json"), latency)
    draw_story(metrics, latency, files.write("reports/pareto.png"))
    settings = files.read("params.yaml").read_text(encoding="utf-8")
    shown = range(1, 1 + len(metrics["agreement"]["worst_images"]))
    links = Pictures("pareto.png", "eval_int8/per_class.png", [f"eval_int8/worst_{k}.jpg" for k in shown])
    page = write_report(metrics, latency, upstream, settings, verdict, params.gates, links)
    write_text(files.write("reports/report.md"), page)
