"""prune: removes channels of the student, then fine-tunes what is left with the same distillation loss.

Reads data/prepared, models/teacher.pt and models/student.pt. Writes models/pruned.pt, reports/prune.json and
reports/prune/. The latency of both networks is measured too; as it differs from run to run it goes to MLflow and the
screen only, and eval-int8 measures again what the report shows.
"""

from __future__ import annotations

from dataclasses import asdict

import hydra
from omegaconf import DictConfig

from src import stage, training
from src.config import Prune
from src.detector import runtime
from src.detector.checkpoint import load_detector
from src.detector.complexity import complexity
from src.detector.dataset import class_names, view_of
from src.detector.training import train
from src.distillation.loss import distillation_from
from src.pruning.channels import prune_channels
from src.stage import Metrics, Place
from src.tracking import Run


def run(params: Prune, place: Place, log: Run) -> Metrics:
    """Prune and fine-tune the student; return the metrics of what is left beside what it was."""
    device = runtime.settle(params.device, params.threads)
    prepared, teacher = place.read("data/prepared"), load_detector(place.read("models/teacher.pt"))
    student = load_detector(place.read("models/student.pt"))
    training.record_dataset(prepared, log)
    before = complexity(student, params.imgsz)
    pruned = prune_channels(student, ratio=params.ratio, round_to=params.round_to, imgsz=params.imgsz)
    with view_of(prepared) as data, place.checkpoint() as checkpoint:
        trained = train(
            pruned,
            data,
            params.settings(),
            device=device,
            checkpoint=checkpoint,
            make_criterion=distillation_from(teacher, class_names(prepared), **params.soft()),
            on_epoch=training.epoch_recorder(log),
        )
        after = training.keep(trained, "models/pruned.pt", place, log, params=params, data=data, device=device)
    _measure_latency(place, log, params)
    return {**after, "before": asdict(before)}
