"""prune: removes channels of the student, then fine-tunes what is left with the same distillation loss.

Reads data/prepared, models/teacher.pt and models/student.pt. Writes models/pruned.pt, reports/prune.json and
reports/prune/. The latency of both networks is measured too; as it differs from run to run it goes to MLflow and the
screen only, and eval-int8 measures again what the report shows.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from pathlib import Path

import hydra
import numpy as np
from omegaconf import DictConfig

from src import stage, training
from src.config import Prune
from src.detector import runtime
from src.detector.checkpoint import load_detector
from src.detector.complexity import complexity
from src.detector.export import export_onnx
from src.evaluation.latency import measure, onnx_forward
from src.pruning.channels import prune_channels
from src.stage import Metrics, Place
from src.teacher import TEACHER, taught_by
from src.tracking import Run

LATENCY_ROUNDS = 50

_logger = logging.getLogger(__name__)


def run(params: Prune, place: Place, log: Run) -> Metrics:
    """Prune and fine-tune the student; return the metrics of what is left beside what it was."""
    device = runtime.settle(params.device, params.threads)
    prepared, student = place.read("data/prepared"), load_detector(place.read("models/student.pt"))
    make_criterion = taught_by(place.read(TEACHER), params, place, prepared) if params.alpha else None
    pruned = prune_channels(student, ratio=params.ratio, round_to=params.round_to, imgsz=params.imgsz)
    with place.checkpoint() as kept:
        after = training.train_and_keep(
            pruned,
            "models/pruned.pt",
            params,
            place,
            log,
            prepared=prepared,
            device=device,
            kept=kept,
            make_criterion=make_criterion,
        )
    _compare_latency(place, params.imgsz, log)
    return {**after, "before": asdict(complexity(student, params.imgsz))}


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
