"""Training on images without labels as well: the soft loss needs no labels.

Hinton et al. (arXiv 1503.02531, section 1) train the student on a transfer set that may be unlabelled. At every step a
batch of such images is used beside the labelled one; both have the same share of the soft loss, and the hard loss sees
the labelled images alone. The two are not mixed: in a mosaic of both, objects without labels would count as background.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.detector.criterion import MakeCriterion, TrainingContext
from src.distillation.distillation_loss import DistillationLoss
from src.distillation.objective import Objective
from src.distillation.teacher import Teacher


def distillation_with_unlabelled(teacher: Teacher, folder: Path, objective: Objective) -> MakeCriterion:
    """Return a function that makes the distillation loss on labelled images and on those of `folder`."""
    return lambda training: UnlabelledLoss(training, teacher, objective, folder)


class UnlabelledLoss(DistillationLoss):
    """The distillation loss with a soft share that is the mean over labelled and unlabelled images.

    Args:
        training: of the student.
        teacher: of both.
        objective: how soft and hard targets make a total.
        folder: of images; they are augmented like the labelled ones, but without mosaics.
    """

    def __init__(self, training: TrainingContext, teacher: Teacher, objective: Objective, folder: Path) -> None:
        super().__init__(training, teacher, objective)
        self._student: DetectionModel = training.network
        self._folder = folder
        self._batches_of = training.batches_of
        self._batches: Iterator[Tensor] | None = None

    def update(self) -> None:
        """Note that an epoch has ended. The next one draws its own batches."""
        super().update()
        self._batches = None

    def soft_loss(self, predictions: Any, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean soft loss of labelled and unlabelled images, and the parts of both by name."""
        soft, parts = super().soft_loss(predictions, images)
        if self._batches is None:
            self._batches = self._batches_of(self._folder, self.updates)
        unlabelled = next(self._batches)
        soft_unlabelled, parts_unlabelled = super().soft_loss(self._student(unlabelled), unlabelled)
        named = {f"unlabelled_{name}": value for name, value in parts_unlabelled.items()}
        return (soft + soft_unlabelled) / 2, {**parts, **named}
