"""Who teaches the student (conf/teaching): trains those who need it, and returns the student's training loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

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
from src.detector.checkpoint import load_detector
from src.detector.criterion import MakeCriterion
from src.detector.training import NewNetwork
from src.distillation.distillation_loss import distillation_from
from src.distillation.objective import Objective
from src.foundation.pipeline import TEACHER
from src.teaching.ensemble import TeacherEnsemble
from src.teaching.label_smoothing import label_smoothing
from src.teaching.mean_teacher import distillation_from_moving_average
from src.teaching.mutual import mutual_learning
from src.teaching.suitability import expect_average, expect_suitable
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


def teaching_architectures(teaching: Teaching) -> list[str]:
    """Return the architectures that a way of teaching trains besides the student's."""
    match teaching:
        case Ensemble():
            return teaching.others
        case Assistants():
            return teaching.chain
        case Mutual():
            return [teaching.peer]
    return []


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
        UserError: these networks cannot teach this student. It is raised before any of them is trained.
    """
    if isinstance(teaching, LabelSmoothing):
        yield label_smoothing(teaching.smoothing)
        return
    if teachers is None or isinstance(teaching, HardTargets):
        yield None
        return
    objective, teacher = teachers.objective, job.files.project / TEACHER
    match teaching:
        case Offline():
            yield teachers.taught_by(teacher)
        case Ensemble():
            expect_average(load_detector(teacher), teaching.others, objective)
            paths = [teacher, *_others(teaching, job)]
            average = TeacherEnsemble(
                [teachers.load(path) for path in paths], by_confidence=teaching.weighting == "confidence"
            )
            yield distillation_from(teachers.with_cache(average, paths, teaching.weighting), objective)
        case Assistants():
            for teaches, learns in pairwise([*teaching.chain, student.architecture]):
                expect_suitable(teaches, learns, objective)
            yield teachers.taught_by(_last_assistant(teaching, teacher, teachers, job))
        case BornAgain():
            expect_suitable(student.architecture, student.architecture, objective)
            yield teachers.taught_by(_last_generation(teaching, student, teachers, job))
        case MeanTeacher():
            yield distillation_from_moving_average(objective)
        case Mutual():
            expect_suitable(teaching.peer, student.architecture, objective)
            expect_suitable(student.architecture, teaching.peer, objective)
            yield mutual_learning(teaching.peer, objective)
        case Unlabelled():
            images = unlabelled_images(job.files.read_own(teaching.folder), job.prepared)
            with view_of_unlabelled(images) as folder:
                yield distillation_with_unlabelled(teachers.frozen(teacher), folder, objective)
        case _:
            raise AssertionError(f"no teacher for {type(teaching)}")


def _others(teaching: Ensemble, job: TrainingJob) -> list[Path]:
    """Train the other teachers on the labels alone."""
    return [job.train_helper(f"other-{index}", NewNetwork(name)) for index, name in enumerate(teaching.others, start=1)]


def _last_assistant(teaching: Assistants, teacher: Path, teachers: Teachers, job: TrainingJob) -> Path:
    """Train the chain, each network taught by the one before, and return the last."""
    for index, name in enumerate(teaching.chain, start=1):
        teacher = job.train_helper(f"assistant-{index}", NewNetwork(name), teachers.taught_by(teacher))
    return teacher


def _last_generation(teaching: BornAgain, student: NewNetwork, teachers: Teachers, job: TrainingJob) -> Path:
    """Train the student's generations, the first on the labels alone, and return the last."""
    path = job.train_helper("generation-0", student)
    for index in range(1, teaching.generations):
        path = job.train_helper(f"generation-{index}", student, teachers.taught_by(path))
    return path
