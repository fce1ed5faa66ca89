"""The task of a search: its budget, what it starts from, and how much time it has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from ultralytics.nn.tasks import DetectionModel

from src.config.eval_int8 import EvalInt8
from src.config.quantize import WITHOUT_RANGES
from src.config.search import Search
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector
from src.detector.dataset import expect_classes, view_of
from src.detector.runtime import settle
from src.foundation.errors import OutdatedError, UserError
from src.foundation.image_size import height_width
from src.foundation.pipeline import PREPARED, TEACHER
from src.foundation.prepared import class_names
from src.searching.budget import Budget
from src.searching.chain import Chain
from src.searching.settings import expect_admitted, settings_of
from src.searching.timing import expect_runtimes
from src.searching.training import Pipeline
from src.trainings.student import student_network
from src.workflow.stage_files import StageFiles


@dataclass(frozen=True)
class Task:
    """The task of a search.

    Attributes:
        settings: of the search.
        prepared: the folder that prepare-labels wrote.
        root: the folder of what is kept.
        pipeline: the stages that train and quantize a candidate.
        evaluation: the settings of eval-int8, for timing.
        teacher: the detector that teaches.
        teacher_val: its mAP50-95 on val.
        ends_s: no training starts afterwards, in seconds of the monotonic clock; None: no limit.
    """

    settings: Search
    prepared: Path
    root: Path
    pipeline: Pipeline
    evaluation: EvalInt8
    teacher: DetectionModel
    teacher_val: float
    ends_s: float | None

    @property
    def budget(self) -> Budget:
        """The limits of latency and size."""
        return Budget(self.settings.budget_ms, self.settings.max_mib)

    def is_over(self) -> bool:
        """Return whether the time is over."""
        return self.ends_s is not None and time.monotonic() >= self.ends_s


@contextmanager
def only_search(root: Path) -> Iterator[None]:
    """Hold the folder of what searches keep during the block.

    Raises:
        UserError: another search runs in this project.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / "search.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("another search runs in this project: wait until it has ended, or end it") from None
    try:
        yield
    finally:
        lock.release()


def task_of(settings: Search, files: StageFiles, root: Path) -> Task:
    """Return the task of a search, checked before anything is timed.

    Args:
        settings: of the search.
        files: of the command.
        root: the folder of what searches keep.

    Raises:
        UserError: the data or the teacher are not there, a candidate has a value that its stage does not admit, or
            initial weights that do not suit it, or the teacher was trained with other settings.
    """
    begun_s = time.monotonic()
    missing = [name for name in (PREPARED, TEACHER) if not (files.project / name).exists()]
    if missing:
        raise UserError(f"{' and '.join(missing)}: not there: run `dvc repro train-teacher` first")
    expect_admitted(settings)
    expect_runtimes(settings.target)
    distill, prune, quantize, evaluation, training = (
        settings_of(stage).params for stage in ("distill", "prune", "quantize", "eval_int8", "train_teacher")
    )
    if quantize.method in WITHOUT_RANGES:
        raise UserError(f"quantize.method must be static, qat or tuned for a search, got {quantize.method}")
    prepared, path = files.read(PREPARED), files.read(TEACHER)
    device = settle(distill.device, distill.cpu_threads)
    teacher = load_detector(path)
    expect_classes(teacher, class_names(prepared), path)
    trained_with = teacher.args["imgsz"]
    if height_width(trained_with) != height_width(training.imgsz):
        raise OutdatedError(path, f"was trained with imgsz {trained_with}, now it is {training.imgsz}")
    _expect_students(settings, files)
    with view_of(prepared) as data:
        val = partial(validate, data_yaml=data, split="val", imgsz=trained_with, device=device)
        teacher_val = val(path).map50_95
    ends_s = None if settings.hours is None else begun_s + 3600 * settings.hours
    pipeline = Pipeline(Chain(files.project, root), path, distill, prune)
    return Task(settings, prepared, root, pipeline, evaluation, teacher, teacher_val, ends_s)


def _expect_students(settings: Search, files: StageFiles) -> None:
    """Check that the students can be built and get their initial weights."""
    faults = []
    for name in settings.students:
        try:
            student_network(settings_of("distill", [f"student={name}"]).params.student, files)
        except UserError as error:
            faults.append(f"students: {name}: {error}")
    if faults:
        raise UserError("; ".join(faults))
