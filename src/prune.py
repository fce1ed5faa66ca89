"""prune: removes channels of the student, then fine-tunes it with the same distillation loss.

Reads data/prepared, models/teacher.pt and models/student.pt. Writes models/pruned.pt, reports/prune.json and
reports/prune/: the curves and, where asked for, what pruning each layer alone costs. The latency of both networks goes
to MLflow and the screen only, as it differs from run to run; eval-int8 measures the latency that the report shows.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("prune")

import logging
import tempfile
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm
from ultralytics.nn.tasks import DetectionModel

from src.config.prune import Prune
from src.deployment.export import export_onnx
from src.deployment.forwards import onnx_forward
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector, save_detector
from src.detector.complexity import complexity
from src.detector.dataset import view_of
from src.evaluation.latency import measure
from src.foundation.atomic import whole_folder
from src.foundation.image_size import ImageSize, height_width
from src.foundation.pipeline import PRUNED, STUDENT, TEACHER
from src.pruning.channels import prunable_layers, ratios_by_round
from src.pruning.gradients import add_gradients
from src.pruning.pruner import Pruner
from src.pruning.sensitivity import LayerDrop, layer_drops, most_sensitive
from src.pruning.unstructured import share_of_zeros
from src.reporting.layer_drops import draw_drops, write_drops
from src.trainings.job import TrainingJob, training_job
from src.trainings.teachers import Teachers, objective_of
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

LATENCY_ROUNDS = 50

_logger = logging.getLogger(__name__)


def run(params: Prune, files: StageFiles, log: Run) -> StageResult:
    """Prune and fine-tune the student; return the metrics of the pruned network, and the size of the student."""
    student = load_detector(files.read(STUDENT))
    objective = objective_of(params)
    inputs = {name: files.read(name) for name in ((STUDENT, TEACHER) if objective else (STUDENT,))}
    with training_job(params, files, log, inputs) as job:
        make_criterion = Teachers.of_stage(params, objective, job).taught_by(inputs[TEACHER]) if objective else None
        pruner = _pruner(params, job)
        spared = _spared_layers(params, student, pruner, job)
        network, rounds = student, _rounds(params)
        for number, (ratio, epochs) in enumerate(rounds, start=1):
            network = pruner.pruned(network, student, ratio, spared)
            fine_tuning = job.for_epochs(epochs)
            if number < len(rounds):
                network = load_detector(fine_tuning.train_helper(f"round-{number}", network, make_criterion))
        metrics = fine_tuning.train_output(PRUNED, network, make_criterion)
    _compare_latency(files, params.imgsz, log)
    zeros = share_of_zeros(load_detector(files.outputs[PRUNED]))
    before = asdict(complexity(student, params.imgsz))
    return StageResult({**metrics, "share_of_zeros": round(zeros, 6), "before": before})


def _pruner(params: Prune, job: TrainingJob) -> Pruner:
    def fill_gradients(network: DetectionModel) -> None:
        with view_of(job.prepared) as data:
            add_gradients(network, data, job.arguments, batches=params.importance_batches)

    return Pruner(params.method, params.importance, params.round_to, params.imgsz, fill_gradients)


def _rounds(params: Prune) -> list[tuple[float, int]]:
    """Return for each round the share of channels that is removed after it, and the epochs of its fine-tuning."""
    ends = [round(params.epochs * done / params.rounds) for done in range(params.rounds + 1)]
    epochs = [end - begin for begin, end in pairwise(ends)]
    return list(zip(ratios_by_round(params.ratio, params.rounds), epochs, strict=True))


def _spared_layers(params: Prune, student: DetectionModel, pruner: Pruner, job: TrainingJob) -> set[int]:
    """Return the most sensitive layers, which stay as they are, and write what pruning each layer alone costs."""
    drops: list[LayerDrop] = []
    if params.sensitivity or params.spared_layers:
        with (
            view_of(job.prepared) as data,
            tempfile.TemporaryDirectory(prefix="sensitivity-") as scratch,
            tqdm(total=len(prunable_layers(student)), desc="layer sensitivity", unit="layer") as progress,
        ):

            def score(network: DetectionModel) -> float:
                path = Path(scratch) / "network.pt"
                save_detector(network, path, params.imgsz)
                return validate(path, data, split="val", imgsz=params.imgsz, device=job.device).map50_95

            drops = layer_drops(
                student, lambda spared: pruner.pruned(student, student, params.ratio, spared), score, progress.update
            )
    report = job.files.write("reports/prune/sensitivity")
    with whole_folder(report) as folder:
        write_drops(drops, folder / "layers.csv")
        if drops:
            draw_drops(drops, folder / "layers.png")
    job.log.artifact(report, folder="plots")
    return most_sensitive(drops, params.spared_layers)


def _compare_latency(files: StageFiles, imgsz: ImageSize, log: Run) -> None:
    """Measure student and pruned network in onnxruntime: fewer channels may take as long."""
    image = np.zeros((1, 3, *height_width(imgsz)), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="latency-") as scratch:
        forwards = {}
        for name, weights in {"student": files.inputs[STUDENT], "pruned": files.outputs[PRUNED]}.items():
            network = Path(scratch) / f"{name}.onnx"
            export_onnx(weights, network, imgsz)
            forwards[name] = onnx_forward(network, image, threads=1)
        latencies = measure(forwards, LATENCY_ROUNDS)
    speedup = latencies["student"].p50_ms / latencies["pruned"].p50_ms
    log.metrics({"latency": {name: asdict(latency) for name, latency in latencies.items()}, "speedup": speedup})
    _logger.info(
        "one forward pass, onnxruntime, 1 thread: student %.2f ms, pruned %.2f ms: %.2f times as fast",
        latencies["student"].p50_ms,
        latencies["pruned"].p50_ms,
        speedup,
    )
