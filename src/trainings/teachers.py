"""The teacher that lies in a file, with the cache of its answers, as the loss of a training stage."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from src.config import Soft
from src.detector.checkpoint import load_detector
from src.detector.dataset import class_names
from src.detector.training import MakeCriterion
from src.distillation.cached_teacher import CachedTeacher
from src.distillation.distillation_loss import distillation_from
from src.distillation.frozen_teacher import Teacher, Teaching
from src.distillation.soft_loss import Objective, SoftWeights
from src.foundation.digests import digest
from src.workflow.stage import Place

TEACHER = "models/teacher.pt"


def taught_by(path: Path, params: Soft, place: Place, prepared: Path) -> MakeCriterion | None:
    """Return the loss of a student of the detector at `path`; None for alpha = 0."""
    return distillation_from(remembering(load_teacher(path, prepared), [path], params, place), objective(params))


def load_teacher(path: Path, prepared: Path) -> Teacher:
    """Return the detector at `path` as a teacher.

    Raises:
        UserError: it cannot be read, or knows other classes than the prepared data has.
    """
    return Teacher(load_detector(path), class_names(prepared))


def objective(params: Soft) -> Objective:
    """Return how soft and hard targets make a total."""
    return Objective(params.T, params.alpha, SoftWeights(**asdict(params.distillation)))


def remembering(teacher: Teaching, weights: Sequence[Path], params: Soft, place: Place, how: str = "") -> Teaching:
    """Return the teacher with the cache of its answers, if there is to be one.

    Args:
        teacher: of one or more networks.
        weights: the files that these were read from.
        params: the stage's.
        place: where the cache lies.
        how: what else decides what the teacher says.
    """
    if params.cache == "never" or (params.cache == "sweep" and not place.in_sweep):
        return teacher
    key = hashlib.sha256(" ".join([how, *(digest(path) for path in weights)]).encode()).hexdigest()
    return CachedTeacher(
        teacher,
        key,
        place.cache("teacher"),
        limit_bytes=int(params.cache_gib * 2**30),
        features=objective(params).weights.features,
    )
