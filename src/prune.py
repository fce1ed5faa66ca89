"""prune: removes channels of the student, then fine-tunes what is left with the same distillation loss.

Reads data/prepared, models/teacher.pt and models/student.pt. Writes models/pruned.pt, reports/prune.json and
reports/prune/: curves, and what each layer lost when it was pruned alone, where that was asked for. The latency of both
networks is measured too; as it differs from run to run it goes to MLflow and the screen only, and eval-int8 measures
again what the report shows.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from tqdm import tqdm
from ultralytics.nn.tasks import DetectionModel

from src.config import Prune
from src.deployment.export import export_onnx
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector, save_detector
from src.detector.complexity import complexity
from src.detector.dataset import view_of
from src.evaluation.latency import measure, onnx_forward
from src.foundation.atomic import whole_folder
from src.foundation.errors import UserError
from src.pruning.channels import prunable_layers, ratios_by_round
from src.pruning.gradients import add_gradients
from src.pruning.pruner import Pruner
from src.pruning.sensitivity import LayerDrop, layer_drops, most_sensitive
from src.pruning.unstructured import share_of_zeros
from src.reporting.layer_drops import draw_drops
from src.trainings.job import train_and_keep, train_on_the_way
from src.trainings.teachers import TEACHER, taught_by
from src.workflow import stage
from src.workflow.stage import Metrics, Place
from src.workflow.tracking import Run

LATENCY_ROUNDS = 50

_logger = logging.getLogger(__name__)


def run(params: Prune, place: Place, log: Run) -> Metrics:
    """Prune and fine-tune the student; return the metrics of what is left beside what it was."""
    device = runtime.settle(params.device, params.threads)
    prepared, student = place.read("data/prepared"), load_detector(place.read("models/student.pt"))
    make_criterion = taught_by(place.read(TEACHER), params, place, prepared) if params.alpha else None
    pruner = _pruner(params, prepared)
    spared = _spared_layers(student, pruner, params, place, log, prepared=prepared, device=device)
    with place.checkpoint() as kept:
        tuning: dict[str, Any] = {
            "prepared": prepared,
            "device": device,
            "kept": kept,
            "make_criterion": make_criterion,
        }
        left, (*earlier, last) = student, _rounds(params)
        for index, (ratio, budget) in enumerate(earlier, start=1):
            left = pruner.pruned(left, student, ratio, spared)
            left = load_detector(train_on_the_way(left, f"round-{index}", budget, log, **tuning))
        left = pruner.pruned(left, student, last[0], spared)
        after = train_and_keep(left, "models/pruned.pt", last[1], place, log, **tuning)
    _compare_latency(place, params.imgsz, log)
    zeros = share_of_zeros(load_detector(place.output / "models/pruned.pt"))
    return {**after, "share_of_zeros": round(zeros, 6), "before": asdict(complexity(student, params.imgsz))}


def _pruner(params: Prune, prepared: Path) -> Pruner:
    def fill_gradients(network: DetectionModel) -> None:
        with view_of(prepared) as data:
            add_gradients(network, data, params.settings(), batches=params.importance_batches)

    return Pruner(params.method, params.importance, params.round_to, params.imgsz, fill_gradients)


def _rounds(params: Prune) -> list[tuple[float, Prune]]:
    """Return for each round the share of channels that is gone after it, and the parameters of its fine-tuning.

    Raises:
        UserError: there are fewer epochs than rounds.
    """
    if params.epochs < params.rounds:
        raise UserError(
            f"prune.epochs must be at least prune.rounds ({params.rounds}), got {params.epochs}: edit params.yaml"
        )
    ends = [round(params.epochs * done / params.rounds) for done in range(params.rounds + 1)]
    budgets = [replace(params, epochs=end - begin) for begin, end in pairwise(ends)]
    return list(zip(ratios_by_round(params.ratio, params.rounds), budgets, strict=True))


def _spared_layers(
    student: DetectionModel, pruner: Pruner, params: Prune, place: Place, log: Run, *, prepared: Path, device: str
) -> set[int]:
    """Return the layers that suffer most; prune each alone for that, where asked for or needed, and write the cost."""
    drops: list[LayerDrop] = []
    if params.sensitivity or params.spared_layers:
        if params.method != "structured":
            raise UserError(
                "prune.sensitivity and prune.spared_layers are about channels: expected prune.method=structured, "
                f"got {params.method}: edit params.yaml"
            )
        with (
            view_of(prepared) as data,
            tempfile.TemporaryDirectory(prefix="sensitivity-") as scratch,
            tqdm(total=len(prunable_layers(student)), desc="one layer at a time", unit="layer") as progress,
        ):

            def score(network: DetectionModel) -> float:
                path = Path(scratch) / "network.pt"
                save_detector(network, path, params.imgsz)
                return validate(path, data, split="val", imgsz=params.imgsz, device=device).map50_95

            drops = layer_drops(
                student, lambda spared: pruner.pruned(student, student, params.ratio, spared), score, progress.update
            )
    report = place.write("reports/prune/sensitivity")
    with whole_folder(report) as folder:
        columns = [field.name for field in fields(LayerDrop)]
        pd.DataFrame([asdict(drop) for drop in drops], columns=columns).to_csv(folder / "layers.csv", index=False)
        if drops:
            draw_drops(drops, folder / "layers.png")
    log.artifact(report, folder="plots")
    return most_sensitive(drops, params.spared_layers)


def _compare_latency(place: Place, imgsz: int, log: Run) -> None:
    """Measure student and pruned in the runtime they are deployed in: fewer channels may still take as long."""
    image = np.zeros((1, 3, imgsz, imgsz), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="latency-") as scratch:
        forwards = {}
        for name in ("student", "pruned"):
            network = Path(scratch) / f"{name}.onnx"
            root = place.output if name == "pruned" else place.project
            export_onnx(root / f"models/{name}.pt", network, imgsz)
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


@hydra.main(version_base="1.3", config_path="../conf", config_name="prune")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("prune", run, config)


if __name__ == "__main__":
    stage.guard(main)
