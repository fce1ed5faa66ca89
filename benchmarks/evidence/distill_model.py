"""A rival: ultralytics' own distillation (`distill_model`), with distill-student's settings and its default weight.

It has the form of a stage. ultralytics cannot resume it to the bit, so a training that is killed begins anew.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer

from src.config.architecture import FROM_TEACHER
from src.config.distill import Distill
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector, save_detector
from src.detector.dataset import view_of
from src.detector.runtime import settle
from src.detector.trainer import Trained
from src.foundation.pipeline import PREPARED, STUDENT, TEACHER
from src.teaching.weight_selection import select_weights
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run


def run(params: Distill, files: StageFiles, log: Run, weight: float | None = None) -> StageResult:
    """Train a student, and return the metrics of its best epoch; `weight`: of its loss, None: ultralytics' default."""
    prepared, teacher, student = files.read(PREPARED), files.read(TEACHER), files.write(STUDENT)
    device = settle(params.device, params.cpu_threads)
    best: dict[str, Any] = {}
    history: list[dict[str, float]] = []

    def keep_best(trainer: Any) -> None:
        history.append({"map50_95": float(trainer.metrics["metrics/mAP50-95(B)"])})
        if trainer.best_fitness == trainer.fitness:
            best.update(best_epoch=trainer.epoch + 1, network=deepcopy(trainer.ema.ema.student_model))

    with view_of(prepared) as data, TemporaryDirectory(prefix="distill-model-") as scratch:
        own = {
            "task": "detect",
            "model": params.student.architecture,
            "distill_model": str(teacher),
            "pretrained": _first(params, teacher, Path(scratch)),
            "data": str(data),
            "device": device,
            "nbs": params.batch,
            "cos_lr": True,
            "amp": False,
            "plots": False,
            "project": scratch,
            "name": "trainer",
        }
        weighted = {} if weight is None else {"dis": weight}
        trainer = DetectionTrainer(overrides={**params.trainer_arguments(), **own, **weighted})
        trainer.add_callback("on_model_save", keep_best)
        trainer.train()
        save_detector(best["network"], student, params.imgsz)
        val = validate(student, data, split="val", imgsz=params.imgsz, device=device)
    log.artifact(student, folder="models")
    trained = Trained(best["network"], best["best_epoch"], tuple(history))
    found = {"val": asdict(val), "best_epoch": trained.best_epoch, "epochs": len(history)}
    return StageResult({**found, "late_gain": trained.late_gain})


def _first(params: Distill, teacher: Path, folder: Path) -> str | bool:
    """Return the file of the student that begins with its teacher's weights; False: it begins from scratch."""
    if params.student.weights != FROM_TEACHER:
        return False
    path = folder / "first.pt"
    save_detector(select_weights(load_detector(teacher), params.student.architecture), path, params.imgsz)
    return str(path)
