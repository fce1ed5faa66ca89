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

from src.detector.added_boxes import AddedBoxes
from src.detector.criterion import Batch, MakeCriterion, TrainingContext
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
        folder: the unlabelled images.
    """

    def __init__(self, training: TrainingContext, teacher: Teacher, objective: Objective, folder: Path) -> None:
        super().__init__(training, teacher, objective)
        self._student: DetectionModel = training.network
        self._unlabelled = UnlabelledBatches(training, folder)

    def soft_loss(self, predictions: Any, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean soft loss of labelled and unlabelled images, and the parts of both by name."""
        labelled = super().soft_loss(predictions, images)
        unlabelled = self._unlabelled.of_epoch(self.updates)["img"]
        return mean_of_both(labelled, super().soft_loss(self._student(unlabelled), unlabelled))


class UnlabelledBatches:
    """Batches of unlabelled images, augmented like the labelled ones, but without mosaics. Each epoch draws its own.

    Args:
        training: the training of the student.
        folder: the images.
        boxes: beside the labels; None: none.
    """

    def __init__(self, training: TrainingContext, folder: Path, boxes: AddedBoxes | None = None) -> None:
        self._draw = lambda epoch: training.batches_of(folder, epoch, boxes)
        self._epoch: int | None = None
        self._batches: Iterator[Batch] = iter(())

    def of_epoch(self, epoch: int) -> Batch:
        """Return the next batch of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._draw(epoch)
        return next(self._batches)


Soft = tuple[Tensor, dict[str, Tensor]]
"""A soft loss per image, and its parts by name."""


def mean_of_both(labelled: Soft, unlabelled: Soft) -> Soft:
    """Return the mean of the soft losses of labelled and unlabelled images, and the parts of both."""
    named = {f"unlabelled_{name}": value for name, value in unlabelled[1].items()}
    return (labelled[0] + unlabelled[0]) / 2, {**labelled[1], **named}
