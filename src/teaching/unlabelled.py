"""Images without labels join training: the soft loss needs none.

Hinton et al. (arXiv 1503.02531, section 1) train the student on a transfer set that may be unlabelled. At every step a
batch of such images stands beside the labelled one; both have the same share of the soft loss, and the hard loss sees
the labelled images alone. A batch of its own, not a mixture: in a mosaic of both, objects without labels would count as
background.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.detector.training import InTraining, MakeCriterion
from src.distillation.distillation_loss import DistillationLoss
from src.distillation.frozen_teacher import Teaching
from src.distillation.soft_loss import Objective


def distillation_with_unlabelled(teacher: Teaching, folder: Path, objective: Objective) -> MakeCriterion:
    """Return what builds the distillation loss on labelled images and those of `folder`."""
    return lambda training: UnlabelledLoss(training, teacher, objective, folder)


class UnlabelledLoss(DistillationLoss):
    """The distillation loss, whose soft share is the mean of that on labelled and on unlabelled images.

    Args:
        training: what is trained.
        teacher: sees both.
        objective: how soft and hard make a total.
        folder: of images, augmented like the labelled ones, but without mosaics.
    """

    def __init__(self, training: InTraining, teacher: Teaching, objective: Objective, folder: Path) -> None:
        super().__init__(training, teacher, objective)
        self._student: DetectionModel = training.network
        self._folder = folder
        self._batches_of = training.batches_of
        self._batches: Iterator[Tensor] | None = None

    def update(self) -> None:
        """Note that an epoch has ended: the next one draws batches of its own."""
        super().update()
        self._batches = None

    def soft_loss(self, predictions: Any, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean soft loss of labelled and unlabelled images, and the parts of the labelled ones' by name."""
        soft, parts = super().soft_loss(predictions, images)
        if self._batches is None:
            self._batches = self._batches_of(self._folder, self.updates)
        unlabelled = next(self._batches)
        soft_unlabelled, parts_unlabelled = super().soft_loss(self._student(unlabelled), unlabelled)
        named = {f"unlabelled_{name}": value for name, value in parts_unlabelled.items()}
        return (soft + soft_unlabelled) / 2, {**parts, **named}
