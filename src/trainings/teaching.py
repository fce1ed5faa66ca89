"""Who teaches the student (conf/teaching): from a stage's parameters to its first weights and its training loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import DetectionModel

from src import config
from src.config import Distill
from src.detector.checkpoint import find_architecture, load_detector
from src.detector.dataset import class_names
from src.detector.training import MakeCriterion
from src.distillation.distillation_loss import distillation_from
from src.distillation.frozen_teacher import Teaching, expect_to_know
from src.distillation.predictions import bins, feature_channels
from src.distillation.soft_loss import Objective, SoftLoss
from src.foundation.errors import UserError
from src.teaching.ensemble import Ensemble, common_bins
from src.teaching.label_smoothing import label_smoothing
from src.teaching.mean_teacher import distillation_from_moving_average
from src.teaching.mutual import mutual_learning
from src.teaching.unlabelled import distillation_with_unlabelled
from src.teaching.unlabelled_images import unlabelled_images, view_of_unlabelled
from src.teaching.weight_selection import select_weights
from src.trainings import teachers
from src.trainings.job import own_weights, train_on_the_way
from src.trainings.teachers import TEACHER
from src.workflow.stage import Place
from src.workflow.tracking import Run

_BY_TEACHER = (config.Offline, config.Ensemble, config.Assistants, config.Unlabelled)


def read_inputs(params: Distill, place: Place) -> None:
    """Make known to `place` what is read besides the prepared data: an interrupted training of other inputs is another.

    Raises:
        UserError: the teacher is not there.
    """
    mode = params.teaching
    by_teacher = params.alpha > 0 and isinstance(mode, _BY_TEACHER)  # without alpha nothing soft is learned
    if by_teacher or params.student.weights == config.FROM_TEACHER:
        place.read(TEACHER)
    if by_teacher and isinstance(mode, config.Unlabelled):
        place.read_own(mode.folder)


def first_weights(params: Distill, place: Place, prepared: Path) -> DetectionModel | None:
    """Return what the student begins with: a part of its teacher's weights, the user's own, or None, from scratch.

    Raises:
        UserError: the weights cannot be read, or do not suit the student.
    """
    if params.student.weights != config.FROM_TEACHER:
        return own_weights(params.student, place)
    network = load_detector(place.read(TEACHER))
    expect_to_know(network, class_names(prepared))
    return select_weights(network, find_architecture(params.student.architecture))


@contextmanager
def criterion(
    params: Distill,
    place: Place,
    log: Run,
    *,
    prepared: Path,
    device: str,
    kept: Path,
    weights: DetectionModel | None,
) -> Iterator[MakeCriterion | None]:
    """Yield what builds the student's training loss, after training whoever is to teach it; None: ultralytics' own.

    Args:
        params: the stage's; `teaching` decides.
        place: where the teacher lies.
        log: gets a run below it for each network that is trained on the way, and its weights.
        prepared: the folder that prepare-labels wrote.
        device: "cpu" or a CUDA index.
        kept: the folder in which networks trained on the way are kept until the stage ends.
        weights: what the student begins with, and so do its earlier generations.

    Raises:
        UserError: these networks cannot teach this student.
    """
    course = _Course(params, place, log, prepared, device, kept, weights)
    mode = params.teaching
    if isinstance(mode, config.LabelSmoothing):
        yield label_smoothing(mode.smoothing)
        return
    if params.alpha == 0 or isinstance(mode, config.HardTargets):
        yield None
        return
    objective = teachers.objective(params)
    _expect_suitable(params, objective, place)
    match mode:
        case config.Offline():
            yield course.taught_by(place.read(TEACHER))
        case config.Ensemble():
            yield distillation_from(course.ensemble(mode), objective)
        case config.Assistants():
            yield course.taught_by(course.last_assistant(mode))
        case config.BornAgain():
            yield course.taught_by(course.last_generation(mode))
        case config.MeanTeacher():
            yield distillation_from_moving_average(objective)
        case config.Mutual():
            yield mutual_learning(find_architecture(mode.peer), objective)
        case config.Unlabelled():
            images = unlabelled_images(place.read_own(mode.folder), prepared)
            with view_of_unlabelled(images) as folder:
                yield distillation_with_unlabelled(course.teacher(), folder, objective)
        case _:
            raise AssertionError(f"nobody teaches for {type(mode)}")


def _expect_suitable(params: Distill, objective: Objective, place: Place) -> None:
    """Check who is to be trained before anybody is: that the architectures exist, and each can teach the next.

    Raises:
        UserError: one does not, or cannot.
    """
    student = params.student.architecture
    lessons: list[tuple[str, str]] = []
    match params.teaching:
        case config.Ensemble() as mode:
            if objective.weights.features:
                raise UserError(
                    "teaching=ensemble: features of different teachers have no average: "
                    "choose a distillation without them, such as distillation=heads"
                )
            common_bins([bins(load_detector(place.read(TEACHER))), *(bins(_untrained(name)) for name in mode.others)])
        case config.Assistants() as mode:
            lessons = list(pairwise([*mode.chain, student]))
        case config.BornAgain():
            lessons = [(student, student)]
        case config.Mutual() as mode:
            lessons = [(mode.peer, student), (student, mode.peer)]
    for teaches, learns in lessons:
        of = _untrained(teaches)
        SoftLoss(objective, _untrained(learns), teacher_channels=feature_channels(of), teacher_bins=bins(of))


def _untrained(architecture: str) -> DetectionModel:
    with torch.random.fork_rng(devices=[]):
        return DetectionModel(find_architecture(architecture), verbose=False)


@dataclass(frozen=True)
class _Course:
    """What it takes to train others before the student, with the student's own settings."""

    params: Distill
    place: Place
    log: Run
    prepared: Path
    device: str
    kept: Path
    weights: DetectionModel | None

    def teacher(self) -> Teaching:
        """Return the pipeline's teacher."""
        path = self.place.read(TEACHER)
        return teachers.remembering(teachers.load_teacher(path, self.prepared), [path], self.params, self.place)

    def ensemble(self, mode: config.Ensemble) -> Teaching:
        """Train the others on the labels alone, and let them speak with the teacher."""
        paths = [self.place.read(TEACHER)]
        paths += [self.train(f"other-{index}", name) for index, name in enumerate(mode.others, start=1)]
        loaded = [teachers.load_teacher(path, self.prepared) for path in paths]
        together = Ensemble(loaded, by_confidence=mode.weighting == "confidence")
        return teachers.remembering(together, paths, self.params, self.place, mode.weighting)

    def last_assistant(self, mode: config.Assistants) -> Path:
        """Train the chain, each link taught by the one before, and return the last."""
        path = self.place.read(TEACHER)
        for index, architecture in enumerate(mode.chain, start=1):
            path = self.train(f"assistant-{index}", architecture, self.taught_by(path))
        return path

    def last_generation(self, mode: config.BornAgain) -> Path:
        """Train the student's generations, the first on the labels alone, and return the last."""
        path: Path | None = None
        for index in range(mode.generations):
            taught = self.taught_by(path) if path else None
            path = self.train(
                f"generation-{index}",
                self.params.student.architecture,
                taught,
                activation=self.params.student.activation,
                weights=self.weights,
            )
        assert path is not None, "there is at least one generation"
        return path

    def taught_by(self, path: Path) -> MakeCriterion | None:
        """Return the loss of a student of the detector at `path`."""
        return teachers.taught_by(path, self.params, self.place, self.prepared)

    def train(self, name: str, architecture: str, make_criterion: MakeCriterion | None = None, **options: Any) -> Path:
        """Train a network with the student's own settings, and return where it is kept."""
        return train_on_the_way(
            find_architecture(architecture),
            name,
            self.params,
            self.log,
            prepared=self.prepared,
            device=self.device,
            kept=self.kept,
            make_criterion=make_criterion,
            **options,
        )
