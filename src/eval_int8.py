"""What was lost and what was won on the way from the teacher to INT8, on the test images.

Reads the models of all stages, their metrics in reports/, params.yaml (to show it) and data/prepared. Writes
reports/eval_int8.json (accuracy; the same on every run), reports/latency.json, reports/pareto.png and reports/report.md
(timings, and what shows them; never the same), and pictures in reports/eval_int8. Then the gate: an INT8 model that
lost more than `max_drop` fails the stage.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from src.config import EvalInt8
from src.deployment.export import expect_size, export_onnx
from src.detector.accuracy import Accuracy, validate
from src.detector.checkpoint import load_detector
from src.detector.complexity import complexity
from src.detector.dataset import class_names, expect_classes, view_of
from src.detector.runtime import settle
from src.evaluation.agreement import Agreement, compare, summarize, worst_first
from src.evaluation.detections import LEAST_SCORE, detect
from src.evaluation.latency import Latency, forwards_by_runtime, measure, onnx_forward, torch_forward, torch_threads
from src.evaluation.machine import describe_machine
from src.foundation.atomic import whole_file, whole_folder, write_json, write_text
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.quantization.images import load_image
from src.reporting.accuracy_plots import draw_pareto, draw_per_class
from src.reporting.report import TITLES, Pictures, gate_passes, timed, write_report
from src.reporting.side_by_side import Half, side_by_side
from src.workflow import stage
from src.workflow.tracking import Run

MODELS = {
    "teacher": "models/teacher.pt",
    "student": "models/student.pt",
    "pruned": "models/pruned.pt",
    "onnx_fp32": "models/pruned.onnx",
    "onnx_int8": "models/int8.onnx",
}
EARLIER_STAGES = ("prepare_labels", "train_teacher", "distill", "prune", "calibrate", "quantize")
LEAST_IOU = 0.5
MIB = 2**20


def run(params: EvalInt8, place: stage.Place, log: Run) -> dict[str, Any]:
    """Measure all models, write the reports, then judge: the accuracies are returned if INT8 passes the gate."""
    device = settle(params.device, params.threads)
    files = {name: place.read(path) for name, path in MODELS.items()}
    for name in ("onnx_fp32", "onnx_int8"):
        expect_size(files[name], params.imgsz)
    prepared = place.read("data/prepared")
    log.dataset("prepared", digest(prepared), "data/prepared", {"split": "test"})
    images = sorted((prepared / "images" / "test").iterdir())
    results: dict[str, Any] = _accuracies(files, prepared, params, device)
    results["int8_drop"] = {
        f"vs_{other}": round(results[name]["map50_95"] - results["onnx_int8"]["map50_95"], 6)
        for other, name in {"fp32": "onnx_fp32", "teacher": "teacher"}.items()
    }
    report = place.write("reports/eval_int8")
    with whole_folder(report) as pictures:
        results["agreement"] = _agreement(files, images, class_names(prepared), params, pictures)
        draw_per_class({name: results[name] for name in MODELS}, pictures / "per_class.png")
    latency = _latencies(files, load_image(images[0], params.imgsz), params)
    _write_reports(results, latency, params, place)
    log.metrics({"latency": latency})
    for path in (report, place.output / "reports/pareto.png", place.output / "reports/report.md"):
        log.artifact(path, folder="report")
    if not gate_passes(results, params.max_drop):
        log.metrics(results)
        raise UserError(
            f"eval_int8.max_drop: expected INT8 to lose at most {params.max_drop} of mAP50-95 against ONNX FP32 on "
            f"test, it lost {results['int8_drop']['vs_fp32']}: see reports/report.md, then change calibrate or quantize"
        )
    return results


def _accuracies(files: dict[str, Path], prepared: Path, params: EvalInt8, device: str) -> dict[str, dict[str, Any]]:
    results = {}
    with view_of(prepared) as data_yaml:
        for name, path in files.items():
            # Both ONNX files are the pruned network: the same layers, in another form.
            network = load_detector(path if path.suffix == ".pt" else files["pruned"])
            expect_classes(network, class_names(prepared), who=MODELS[name], advice="run `dvc repro`")
            accuracy = validate(path, data_yaml, split="test", imgsz=params.imgsz, device=device)
            counted = complexity(network, params.imgsz)
            results[name] = {
                "map50_95": accuracy.map50_95,
                "map50": accuracy.map50,
                "per_class": _per_class(accuracy),
                "parameters": counted.parameters,
                "gflops": counted.gflops,
                "size_mib": round(path.stat().st_size / MIB, 4),
            }
    return results


def _per_class(accuracy: Accuracy) -> dict[str, dict[str, float]]:
    return {name: {"map50_95": of.map50_95, "map50": of.map50} for name, of in accuracy.per_class.items()}


def _agreement(
    files: dict[str, Path], images: list[Path], names: list[str], params: EvalInt8, pictures: Path
) -> dict[str, Any]:
    """Compare FP32 and INT8 image by image, and draw the images on which they agree least."""
    found = {
        name: detect(files[name], images, imgsz=params.imgsz, threads=params.threads)
        for name in ("onnx_fp32", "onnx_int8")
    }
    pairs = tqdm(
        zip(images, found["onnx_fp32"], found["onnx_int8"], strict=True), "comparing", len(images), unit="image"
    )
    detections = {path: (fp32, int8) for path, fp32, int8 in pairs}
    agreements = {path.name: compare(fp32, int8, LEAST_IOU) for path, (fp32, int8) in detections.items()}
    worst = worst_first(agreements)[: params.pictures]
    by_name = {path.name: path for path in images}
    for place, name in enumerate(worst, start=1):
        fp32, int8 = detections[by_name[name]]
        alone = agreements[name].alone
        halves = [Half(f"{name}  FP32", fp32, alone[0]), Half("INT8", int8, alone[1])]
        side_by_side(by_name[name], halves, names, pictures / f"worst_{place}.jpg")
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
        "share_matched": round(agreement.share, 6),
        "mean_matched_iou": None if mean_iou is None else round(mean_iou, 6),
    }


def _latencies(files: dict[str, Path], image: Any, params: EvalInt8) -> dict[str, Any]:
    """Time the five as they are, and teacher and student as ONNX too, so that one runtime compares all networks.

    Where OpenVINO is installed it runs the two ONNX files, too: `onnx_int8_openvino`.
    """
    threads = params.latency_threads
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        exported = {name: Path(folder) / f"{name}.onnx" for name in ("teacher_onnx", "student_onnx")}
        for name, path in exported.items():
            export_onnx(files[name.removesuffix("_onnx")], path, params.imgsz)
        forwards = {name: torch_forward(path, image) for name, path in files.items() if path.suffix == ".pt"}
        forwards |= {name: onnx_forward(path, image, threads) for name, path in exported.items()}
        for name in ("onnx_fp32", "onnx_int8"):
            for runtime, forward in forwards_by_runtime(files[name], image, threads).items():
                forwards[name if runtime == "onnxruntime" else f"{name}_{runtime}"] = forward
        latency = measure(forwards, params.latency_rounds)
    return {
        **{name: {"p50_ms": of.p50_ms, "p95_ms": of.p95_ms} for name, of in latency.items()},
        "speedup": _speedups(latency),
        "machine": {**describe_machine(), "threads": threads, "rounds": params.latency_rounds, "imgsz": params.imgsz},
    }


def _speedups(latency: dict[str, Latency]) -> dict[str, float]:
    """Return how many times faster the first is than the second: medians, both in onnxruntime or both in OpenVINO."""
    pairs = {
        "int8_vs_fp32": ("onnx_int8", "onnx_fp32"),
        "int8_vs_teacher": ("onnx_int8", "teacher_onnx"),
        "pruned_vs_student": ("onnx_fp32", "student_onnx"),
        "student_vs_teacher": ("student_onnx", "teacher_onnx"),
        "int8_vs_fp32_openvino": ("onnx_int8_openvino", "onnx_fp32_openvino"),
    }
    return {
        name: round(latency[slow].p50_ms / latency[fast].p50_ms, 3)
        for name, (fast, slow) in pairs.items()
        if fast in latency and slow in latency
    }


def _write_reports(results: dict[str, Any], latency: dict[str, Any], params: EvalInt8, place: stage.Place) -> None:
    write_json(place.write("reports/eval_int8.json"), results)
    write_json(place.write("reports/latency.json"), latency)
    points = {
        f"{TITLES[one.model]} ({one.runtime})": (
            latency[one.key]["p50_ms"],
            results[one.model]["map50_95"],
            results[one.model]["size_mib"],
        )
        for one in timed(latency)
    }
    machine = latency["machine"]
    with whole_file(place.write("reports/pareto.png")) as partial:
        draw_pareto(points, f"{machine['cpu']}, {machine['threads']} thread(s), {machine['imgsz']} px", partial)
    upstream = {
        name: json.loads(place.read(f"reports/{name}.json").read_text(encoding="utf-8")) for name in EARLIER_STAGES
    }
    settings = place.read("params.yaml").read_text(encoding="utf-8")
    shown = range(1, 1 + len(results["agreement"]["worst_images"]))
    links = Pictures("pareto.png", "eval_int8/per_class.png", [f"eval_int8/worst_{k}.jpg" for k in shown])
    page = write_report(results, latency, upstream, settings, params.max_drop, links)
    write_text(place.write("reports/report.md"), page)


@hydra.main(version_base="1.3", config_path="../conf", config_name="eval_int8")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("eval_int8", run, config)


if __name__ == "__main__":
    stage.guard(main)
