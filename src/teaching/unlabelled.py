"""Training with additional images without labels: the soft loss needs no labels.

Hinton et al. (arXiv 1503.02531, section 1) train the student on a transfer set that may be unlabelled. Every step uses
a batch of such images in addition to the labelled batch. Both have the same share of the soft loss; the hard loss uses
only the labelled images. The two are not mixed: in a mosaic of both, objects without labels would count as background.
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
    """Return a function that makes the distillation loss on labelled images and on the images of `folder`."""
    return lambda training: UnlabelledLoss(training, teacher, objective, folder)


class UnlabelledLoss(DistillationLoss):
    """The distillation loss whose soft loss is the mean over labelled and unlabelled images.

    Args:
        training: the training of the student.
        teacher: predicts the soft targets of both.
        objective: weights and temperature of the losses.
        folder: the unlabelled images; they are augmented like the labelled ones, but without mosaics.
    """

    def __init__(self, training: TrainingContext, teacher: Teacher, objective: Objective, folder: Path) -> None:
        super().__init__(training, teacher, objective)
        self._student: DetectionModel = training.network
        self._folder = folder
        self._batches_of = training.batches_of
        self._batches: Iterator[Tensor] | None = None

    def update(self) -> None:
        """Count an epoch that has ended. The next epoch draws its own batches."""
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
