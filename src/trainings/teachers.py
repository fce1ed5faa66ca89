"""The detectors that teach in a stage, with the cache of their answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import ultralytics

from src.config.distillation import SoftTargets
from src.detector.checkpoint import load_detector
from src.detector.criterion import MakeCriterion
from src.detector.dataset import expect_classes
from src.distillation.cached_teacher import CachedTeacher
from src.distillation.distillation_loss import distillation_from
from src.distillation.losses import LOSSES
from src.distillation.objective import Objective
from src.distillation.teacher import FrozenTeacher, Teacher
from src.foundation.digests import digest
from src.foundation.errors import SettingError
from src.foundation.prepared import class_names
from src.trainings.job import TrainingJob
from src.workflow.code import code_digest

ANSWERING_CODE = ("src.distillation.teacher", "src.distillation.cached_teacher", "src.teaching.ensemble")
"""The modules that make a teacher's answer."""

Average = Callable[[Sequence[Teacher]], Teacher]


def objective_of(params: SoftTargets) -> Objective | None:
    """Return how soft and hard targets make a total; None for alpha = 0: there are hard targets alone.

    Raises:
        SettingError: no loss has a weight.
    """
    if params.alpha == 0:
        return None
    weights = {name: weight for name in LOSSES if (weight := getattr(params.distillation, name)) > 0}
    if not weights:
        raise SettingError("distillation", "must give a loss a weight above 0; for the labels alone there is alpha=0")
    return Objective(params.T, params.alpha, weights)


@dataclass(frozen=True)
class Teachers:
    """Loads detectors as teachers.

    Attributes:
        objective: of their student.
        class_names: of the dataset.
        cache: the folder of their answers; None: these are not kept.
        limit_bytes: largest size of that folder.
        dtype: in which they compute.
    """

    objective: Objective
    class_names: Sequence[str]
    cache: Path | None
    limit_bytes: int
    dtype: torch.dtype

    @classmethod
    def of_stage(cls, params: SoftTargets, objective: Objective, job: TrainingJob) -> Teachers:
        """Return the teachers of a stage with these settings."""
        kept = params.cache == "always" or (params.cache == "sweep" and job.files.in_sweep)
        cache = job.files.cache("teacher") if kept else None
        return cls(objective, class_names(job.prepared), cache, int(params.cache_gib * 2**30), job.dtype)

    def taught_by(self, *weights: Path, average: Average | None = None) -> MakeCriterion:
        """Return a function that makes the loss of a student of these detectors; see `frozen`."""
        return distillation_from(self.frozen(*weights, average=average), self.objective)

    def frozen(self, *weights: Path, average: Average | None = None) -> Teacher:
        """Return the detector in a file as a teacher, or the average of several, with the cache of its answers.

        Args:
            weights: .pt files.
            average: makes one teacher of several. Its repr is a part of the cache's key: use a `functools.partial`, not
                a lambda.

        Raises:
            UserError: a file cannot be read, or its detector knows other classes than the dataset has.
        """
        networks = [self._load(path) for path in weights]
        teacher = average(networks) if average else networks[0]
        if self.cache is None:
            return teacher
        made_by = [
            code_digest(*ANSWERING_CODE),
            ultralytics.__version__,
            str(self.dtype),
            repr(average),
            *map(digest, weights),
        ]
        return CachedTeacher(
            teacher,
            hashlib.sha256(" ".join(made_by).encode()).hexdigest(),
            self.cache,
            limit_bytes=self.limit_bytes,
            features=self.objective.compares_features,
        )

    def _load(self, path: Path) -> FrozenTeacher:
        network = load_detector(path)
        expect_classes(network, self.class_names, path)
        return FrozenTeacher(network, self.dtype)
