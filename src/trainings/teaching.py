"""Ways of teaching the student (conf/teaching): train its teachers where needed, and return its training loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
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
    Predictions,
    Teaching,
    Unlabelled,
)
from src.detector.checkpoint import load_detector
from src.detector.criterion import MakeCriterion
from src.detector.training import NewNetwork
from src.foundation.pipeline import TEACHER
from src.teaching.ensemble import TeacherEnsemble
from src.teaching.label_smoothing import label_smoothing
from src.teaching.mean_teacher import distillation_from_moving_average
from src.teaching.mutual import mutual_learning
from src.teaching.suitability import expect_average, expect_suitable
from src.teaching.unlabelled import distillation_with_unlabelled
from src.teaching.unlabelled_images import unlabelled_images, view_of_unlabelled
from src.trainings.job import TrainingJob
from src.trainings.predictions import PREDICTIONS, UNLABELLED, taught_by_files
from src.trainings.teachers import Teachers
from src.workflow.stage_files import StageFiles


def teaching_inputs(teaching: Teaching, files: StageFiles) -> dict[str, Path]:
    """Return the inputs of a way of teaching, by name: the teacher, images without labels, and files of predictions.

    Raises:
        UserError: the teacher is not there.
    """
    inputs = {TEACHER: files.read(TEACHER)} if teaching.starts_from_teacher else {}
    if isinstance(teaching, Unlabelled | Predictions):
        inputs[UNLABELLED] = files.read_own(teaching.folder)
    if isinstance(teaching, Predictions):
        inputs[PREDICTIONS] = files.read_own(teaching.files)
    return inputs


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
    objective = teachers.objective
    expect_suitable(teaching.pairs(student.architecture), objective)
    match teaching:
        case Offline():
            yield teachers.taught_by(job.inputs[TEACHER])
        case Ensemble():
            expect_average(load_detector(job.inputs[TEACHER]), teaching.others, objective)
            average = partial(TeacherEnsemble, by_confidence=teaching.weighting == "confidence")
            yield teachers.taught_by(job.inputs[TEACHER], *_others(teaching, job), average=average)
        case Assistants():
            chain = {f"assistant-{index}": NewNetwork(name) for index, name in enumerate(teaching.chain, start=1)}
            yield teachers.taught_by(_last_of(chain, job.inputs[TEACHER], teachers, job))
        case BornAgain():
            first, *others = (f"generation-{index}" for index in range(teaching.generations))
            generation = job.train_helper(first, student)
            yield teachers.taught_by(_last_of(dict.fromkeys(others, student), generation, teachers, job))
        case MeanTeacher():
            yield distillation_from_moving_average(objective)
        case Mutual():
            yield mutual_learning(teaching.peer, objective)
        case Unlabelled():
            with view_of_unlabelled(unlabelled_images(job.inputs[UNLABELLED], job.prepared)) as folder:
                yield distillation_with_unlabelled(teachers.frozen(job.inputs[TEACHER]), folder, objective)
        case Predictions():
            with taught_by_files(teaching, objective, job) as make_criterion:
                yield make_criterion
        case _:
            raise AssertionError(f"no teacher for {type(teaching)}")


def _others(teaching: Ensemble, job: TrainingJob) -> list[Path]:
    """Train the other teachers on the labels alone."""
    return [job.train_helper(f"other-{index}", NewNetwork(name)) for index, name in enumerate(teaching.others, start=1)]


def _last_of(chain: Mapping[str, NewNetwork], teacher: Path, teachers: Teachers, job: TrainingJob) -> Path:
    """Train a chain of networks, each taught by the one before, the first by `teacher`, and return the last."""
    for name, network in chain.items():
        teacher = job.train_helper(name, network, teachers.taught_by(teacher))
    return teacher
