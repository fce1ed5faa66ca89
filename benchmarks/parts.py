"""The time of each part of the default trainings."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from benchmarks.photographs import cloned, run_stage
from src import PROJECT
from src.config.composition import register, typed
from src.detector import runtime
from src.detector.checkpoint import load_detector
from src.detector.criterion import MakeCriterion
from src.detector.dataset import view_of
from src.detector.precision import dtype_for
from src.detector.trainer import ResumableTrainer, TrainerExtras
from src.distillation.distillation_loss import distillation_from
from src.distillation.teacher import FrozenTeacher
from src.foundation.pipeline import PREPARED, TEACHER
from src.trainings.teachers import objective_of

NETWORK = "forward, loss and backward"
PARTS = (NETWORK, "loading", "optimizer", "validation", "checkpoint", "the rest")


class TimedTrainer(ResumableTrainer):
    """A trainer that measures the time of each part.

    Attributes:
        seconds: of each of `PARTS`, summed over the training.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seconds = Counter(dict.fromkeys(PARTS, 0.0))
        self.add_callback("on_train_start", lambda trainer: trainer.restart())
        for event in ("on_train_batch_end", "on_train_epoch_end", "on_fit_epoch_end"):
            self.add_callback(event, lambda trainer: trainer.end_of("the rest"))

    def restart(self) -> None:
        """Begin to measure."""
        self._since_s = time.perf_counter()

    def end_of(self, part: str) -> None:
        """Add the time since the last part's end to a part."""
        now_s = time.perf_counter()
        self.seconds[part] += now_s - self._since_s
        self._since_s = now_s

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Scale a batch. It was loaded since the last part's end."""
        scaled = super().preprocess_batch(batch)
        self.end_of("loading")
        return scaled

    def optimizer_step(self) -> None:
        """Do a step, after the backward pass."""
        self.end_of(NETWORK)
        super().optimizer_step()
        self.end_of("optimizer")

    def save_model(self) -> bool:
        """Write the checkpoint, after the validation."""
        self.end_of("validation")
        saved = super().save_model()
        self.end_of("checkpoint")
        return saved


def measure_parts(project: Path) -> dict[str, Mapping[str, float]]:
    """Return the seconds of each part of the default teacher's and student's training, on the digits in a new clone."""
    cloned(project)
    run_stage(project, "prepare_labels", "hydra.run.dir=.")
    run_stage(project, "train_teacher", "epochs=1", "hydra.run.dir=.")
    teacher, student = _settings("train_teacher"), _settings("distill")
    frozen = FrozenTeacher(load_detector(project / TEACHER), dtype_for(student.precision, student.device))
    objective = objective_of(student)
    assert objective, "the default student has soft targets"
    return {
        f"teacher, {teacher.teacher.architecture}": _parts(project, teacher, teacher.teacher.architecture),
        f"student, {student.student.architecture}": _parts(
            project, student, student.student.architecture, distillation_from(frozen, objective)
        ),
    }


def _settings(stage: str) -> Any:
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return typed(stage, compose(stage))


def _parts(
    project: Path, params: Any, architecture: str, make_criterion: MakeCriterion | None = None
) -> Mapping[str, float]:
    """Train with the settings of a stage, as `src.detector.training` does."""
    device, dtype = runtime.settle(params.device, params.cpu_threads), dtype_for(params.precision, params.device)
    with view_of(project / PREPARED) as data:
        extras = TrainerExtras(project / "state.pt", make_criterion, dtype=dtype)
        own = {"model": architecture, "data": str(data), "device": device, "nbs": params.batch, "cos_lr": True}
        fixed = {"task": "detect", "amp": False, "plots": False, "pretrained": False, "project": str(project)}
        trainer = type("Timed", (TimedTrainer,), {"extras": extras})(
            overrides={**params.trainer_arguments(), **own, **fixed, "name": "trainer", "exist_ok": True}
        )
        trainer.train()
    extras.checkpoint.unlink()
    return trainer.seconds


def table(parts: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of a table with a row per training: the share of each part."""
    lines = [
        f"| training | s | {' | '.join(PARTS)} | all but the first |",
        f"| --- | --- | {' | '.join('---' for _ in PARTS)} | --- |",
    ]
    for name, seconds in parts.items():
        total = sum(seconds.values())
        shares = [f"{seconds[part] / total:.0%}" for part in PARTS]
        lines.append(f"| {name} | {total:.0f} | {' | '.join(shares)} | {1 - seconds[NETWORK] / total:.0%} |")
    return lines
