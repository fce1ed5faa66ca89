"""Who teaches the student (conf/teaching): trains those who need it, and returns the student's training loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from ultralytics.nn.tasks import DetectionModel

from src.config.teaching import (
    Assistants,
    BornAgain,
    Ensemble,
    HardTargets,
    LabelSmoothing,
    MeanTeacher,
    Mutual,
    Offline,
    Teaching,
    Unlabelled,
)
from src.detector.checkpoint import find_architecture, load_detector
from src.detector.criterion import MakeCriterion
from src.detector.training import NewNetwork
from src.distillation.distillation_loss import distillation_from
from src.distillation.objective import Objective
from src.distillation.predictions import bins, feature_channels
from src.distillation.soft_loss import SoftLoss
from src.distillation.teacher import Teacher
from src.foundation.errors import SettingError
from src.foundation.pipeline import TEACHER
from src.teaching.ensemble import TeacherEnsemble, common_bins
from src.teaching.label_smoothing import label_smoothing
from src.teaching.mean_teacher import distillation_from_moving_average
from src.teaching.mutual import mutual_learning
from src.teaching.unlabelled import distillation_with_unlabelled
from src.teaching.unlabelled_images import unlabelled_images, view_of_unlabelled
from src.trainings.job import TrainingJob
from src.trainings.teachers import Teachers
from src.workflow.stage_files import StageFiles

WITH_TEACHER = (Offline, Ensemble, Assistants, Unlabelled)
"""The ways of teaching that start from the pipeline's teacher."""


def teaching_inputs(teaching: Teaching, objective: Objective | None, files: StageFiles) -> list[Path]:
    """Return what a way of teaching reads: the teacher, and images without labels.

    Raises:
        UserError: the teacher is not there.
    """
    if objective is None or not isinstance(teaching, WITH_TEACHER):
        return []
    return [files.read(TEACHER), *([files.read_own(teaching.folder)] if isinstance(teaching, Unlabelled) else [])]


@contextmanager
def student_criterion(
    teaching: Teaching, student: NewNetwork, teachers: Teachers | None, job: TrainingJob
) -> Iterator[MakeCriterion | None]:
    """Yield a function that makes the student's training loss, after training whoever teaches it.

    Args:
        teaching: the way of teaching.
        student: the network to be trained. Its earlier generations start from the same.
        teachers: loads the detectors that teach; None: there are no soft targets.
        job: of the stage. A run below the stage's records each network that is trained first.

    Yields:
        None for ultralytics' own loss.

    Raises:
        UserError: these networks cannot teach this student.
    """
    if isinstance(teaching, LabelSmoothing):
        yield label_smoothing(teaching.smoothing)
    elif teachers is None or isinstance(teaching, HardTargets):
        yield None
    else:
        _expect_suitable(teaching, student.architecture, teachers.objective, job.files)
        with _Lessons(student, teachers, job).criterion(teaching) as make_criterion:
            yield make_criterion


def _expect_suitable(teaching: Teaching, student: str, objective: Objective, files: StageFiles) -> None:
    """Check before anything is trained that all architectures exist, and that each can teach the next.

    Raises:
        UserError: one does not exist, or cannot teach.
    """
    pairs: list[tuple[str, str]] = []
    match teaching:
        case Ensemble():
            if objective.compares_features:
                raise SettingError(
                    "distillation",
                    "must not compare features in an ensemble, as those of different teachers have no average: choose "
                    "one without, such as distillation=heads",
                )
            teacher = load_detector(files.read(TEACHER))
            common_bins([bins(teacher), *(bins(_untrained(name)) for name in teaching.others)])
        case Assistants():
            pairs = list(pairwise([*teaching.chain, student]))
        case BornAgain():
            pairs = [(student, student)]
        case Mutual():
            pairs = [(teaching.peer, student), (student, teaching.peer)]
    for teaches, learns in pairs:
        of_teacher = _untrained(teaches)
        SoftLoss(
            objective,
            _untrained(learns),
            teacher_channels=feature_channels(of_teacher),
            teacher_bins=bins(of_teacher),
        )


def _untrained(architecture: str) -> DetectionModel:
    with torch.random.fork_rng(devices=[]):
        return DetectionModel(find_architecture(architecture), verbose=False)


@dataclass(frozen=True)
class _Lessons:
    """Trains others before the student, with the student's own settings."""

    student: NewNetwork
    teachers: Teachers
    job: TrainingJob

    @contextmanager
    def criterion(self, teaching: Teaching) -> Iterator[MakeCriterion]:
        """Yield a function that makes the student's loss."""
        objective, teacher = self.teachers.objective, self.job.files.project / TEACHER
        match teaching:
            case Offline():
                yield self.teachers.taught_by(teacher)
            case Ensemble():
                yield distillation_from(self._ensemble(teaching, teacher), objective)
            case Assistants():
                yield self.teachers.taught_by(self._last_assistant(teaching, teacher))
            case BornAgain():
                yield self.teachers.taught_by(self._last_generation(teaching))
            case MeanTeacher():
                yield distillation_from_moving_average(objective)
            case Mutual():
                yield mutual_learning(find_architecture(teaching.peer), objective)
            case Unlabelled():
                images = unlabelled_images(self.job.files.read_own(teaching.folder), self.job.prepared)
                with view_of_unlabelled(images) as folder:
                    yield distillation_with_unlabelled(self.teachers.frozen(teacher), folder, objective)
            case _:
                raise AssertionError(f"no teacher for {type(teaching)}")

    def _ensemble(self, teaching: Ensemble, teacher: Path) -> Teacher:
        """Train the others on the labels alone, and combine them with the teacher."""
        paths = [teacher]
        for index, name in enumerate(teaching.others, start=1):
            paths.append(self.job.train_helper(f"other-{index}", NewNetwork(find_architecture(name))))
        together = TeacherEnsemble(
            [self.teachers.load(path) for path in paths], by_confidence=teaching.weighting == "confidence"
        )
        return self.teachers.with_cache(together, paths, teaching.weighting)

    def _last_assistant(self, teaching: Assistants, teacher: Path) -> Path:
        """Train the chain, each network taught by the one before, and return the last."""
        for index, name in enumerate(teaching.chain, start=1):
            network = NewNetwork(find_architecture(name))
            teacher = self.job.train_helper(f"assistant-{index}", network, self.teachers.taught_by(teacher))
        return teacher

    def _last_generation(self, teaching: BornAgain) -> Path:
        """Train the student's generations, the first on the labels alone, and return the last."""
        path = self.job.train_helper("generation-0", self.student)
        for index in range(1, teaching.generations):
            path = self.job.train_helper(f"generation-{index}", self.student, self.teachers.taught_by(path))
        return path
