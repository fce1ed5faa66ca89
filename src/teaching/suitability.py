"""Whether networks can teach each other, checked on untrained ones before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from ultralytics.nn.tasks import DetectionModel

from src.detector.checkpoint import find_architecture
from src.distillation.objective import Objective
from src.distillation.predictions import Head
from src.distillation.soft_loss import SoftLoss
from src.foundation.errors import SettingError
from src.teaching.ensemble import common_head


def expect_suitable(pairs: Iterable[tuple[str, str]], objective: Objective) -> None:
    """Check that networks can teach others.

    Args:
        pairs: the architectures of a teacher and of its student.
        objective: of all students.

    Raises:
        UserError: an architecture is unknown, or two heads cannot be compared by one of the losses.
    """
    for teacher, student in pairs:
        SoftLoss(objective, untrained(student), Head.of(untrained(teacher)))


def expect_average(teacher: DetectionModel, others: Sequence[str], objective: Objective) -> None:
    """Check that the predictions of a teacher and of other architectures can be averaged.

    Raises:
        UserError: an architecture is unknown, the heads differ, or the objective compares features.
    """
    if objective.compares_features:
        raise SettingError(
            "distillation",
            "must not compare features in an ensemble, as those of different teachers have no average: choose one "
            "without, such as distillation=heads",
        )
    common_head([Head.of(teacher), *(Head.of(untrained(name)) for name in others)])


def untrained(architecture: str) -> DetectionModel:
    """Return a new network. It changes no random numbers that are drawn afterwards.

    Raises:
        UserError: the architecture is unknown.
    """
    with torch.random.fork_rng(devices=[]):
        return DetectionModel(find_architecture(architecture), verbose=False)
