"""The total that a student minimises: alpha * soft * T^2 + (1 - alpha) * hard.

Hinton et al. (arXiv 1503.02531, section 2). The factor T^2 keeps the gradients of the soft targets of one size while T
is varied: they shrink as 1 / T^2. Features have no targets that T softens, so their share of the soft loss has no such
factor.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from src.detector.training import Batch, Criterion, InTraining, MakeCriterion
from src.distillation.frozen_teacher import Teaching
from src.distillation.predictions import Predictions
from src.distillation.soft_loss import Objective, SoftLoss


def distillation_from(teacher: Teaching, objective: Objective) -> MakeCriterion | None:
    """Return what builds the distillation loss for a student; None for alpha = 0, which is ultralytics' own loss."""
    if objective.alpha == 0:
        return None
    return lambda training: DistillationLoss(training, teacher, objective)


class HardLoss:
    """ultralytics' own detection loss of a network, and the epochs that it has seen.

    The base of the losses here. End-to-end heads shift the balance of their two branches with every epoch.

    Attributes:
        learned: what is trained along with the network; nothing here.
    """

    def __init__(self, training: InTraining) -> None:
        self.hard: Criterion = training.network.init_criterion()
        self.learned: nn.Module = nn.ModuleDict()
        self._updates = 0

    @property
    def updates(self) -> int:
        """How many epochs have ended."""
        return self._updates

    @updates.setter
    def updates(self, count: int) -> None:
        self._updates = count
        if hasattr(self.hard, "updates"):
            self.hard.updates = count

    def update(self) -> None:
        """Note that an epoch has ended."""
        self._updates += 1
        if hasattr(self.hard, "update"):
            self.hard.update()

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size, in parts to be summed, and its detached parts by name."""
        return self.hard(predictions, batch)


class DistillationLoss(HardLoss):
    """Hard targets by ultralytics' own detection loss, soft targets by the teacher.

    Args:
        training: what is trained.
        teacher: gives the soft targets, on the student's own augmented batch.
        objective: how the two make a total. If all weights are 0 the teacher is not asked.

    Raises:
        UserError: a loss has no meaning for these two heads.
    """

    def __init__(self, training: InTraining, teacher: Teaching, objective: Objective) -> None:
        super().__init__(training)
        teacher.to(next(training.network.parameters()).device)
        self.teacher = teacher
        self.alpha = objective.alpha
        self.soft = SoftLoss(objective, training.network, teacher_channels=teacher.channels, teacher_bins=teacher.bins)
        self.learned = self.soft.projectors

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size and its detached parts by name.

        Args:
            predictions: the raw output of the student's head (`Predictions.of`).
            batch: ultralytics' training batch, with `img` (N, 3, H, W) in [0, 1].
        """
        hard, items = self.hard(predictions, batch)
        soft, parts = self.soft_loss(predictions, batch["img"])
        total = self.alpha * soft * len(batch["img"]) + (1 - self.alpha) * hard.sum()
        return total, {**items, **{name: value.detach() for name, value in parts.items()}}

    def soft_loss(self, predictions: Any, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the soft loss of an image, and its parts by name."""
        if not self.soft.weights.any:
            return images.new_zeros(()), {}
        return self.soft(Predictions.of(predictions), self.teacher(images))
