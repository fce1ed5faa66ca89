"""The total loss of a student: soft targets from its teacher, hard targets from the labels (`Objective`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from src.detector.criterion import Batch, Criterion, MakeCriterion, TrainingContext
from src.distillation.objective import Objective
from src.distillation.predictions import Predictions
from src.distillation.soft_loss import SoftLoss
from src.distillation.teacher import Teacher
from src.distillation.withheld_labels import ignore_scores, told_alone


def distillation_from(teacher: Teacher, objective: Objective) -> MakeCriterion:
    """Return a function that makes the distillation loss of a student."""
    return lambda training: DistillationLoss(training, teacher, objective)


class HardLoss:
    """ultralytics' own detection loss of a network; the base class of this project's losses.

    It counts epochs, because end-to-end heads shift the balance of their two branches with every epoch.

    Attributes:
        learned: modules that are trained along with the network; none here.
        counting: ultralytics' losses that are told the number of epochs, if they want to know.
    """

    def __init__(self, training: TrainingContext) -> None:
        self.hard: Criterion = training.network.init_criterion()
        self.learned: nn.Module = nn.ModuleDict()
        self.counting: list[Any] = [self.hard]
        self._updates = 0
        self._withheld: Sequence[int] = ()

    @property
    def updates(self) -> int:
        """Number of epochs that have ended."""
        return self._updates

    @updates.setter
    def updates(self, count: int) -> None:
        self._updates = count
        for loss in self.counting:
            if hasattr(loss, "updates"):
                loss.updates = count

    def update(self) -> None:
        """Count an epoch that has ended."""
        self._updates += 1
        for loss in self.counting:
            if hasattr(loss, "update"):
                loss.update()

    def withhold(self, classes: Sequence[int]) -> None:
        """Withhold the labels of some classes, by index, from the hard loss (src/distillation/withheld_labels.py)."""
        self._withheld = classes
        ignore_scores(self.hard, classes)

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size, in parts to be summed, and its detached parts by name."""
        return self.hard_loss(predictions, batch)

    def hard_loss(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the hard loss times the batch size, in parts to be summed, and its detached parts by name."""
        return self.hard(predictions, told_alone(batch, self._withheld) if self._withheld else batch)


class DistillationLoss(HardLoss):
    """Hard targets in ultralytics' own detection loss, soft targets from a teacher.

    Args:
        training: the training of the student.
        teacher: predicts the soft targets on the student's own augmented batch.
        objective: weights and temperature of the losses.

    Raises:
        SettingError: one of the losses cannot compare the two heads.
    """

    def __init__(self, training: TrainingContext, teacher: Teacher, objective: Objective) -> None:
        super().__init__(training)
        teacher.to(next(training.network.parameters()).device)
        self.teacher = teacher
        self.alpha = objective.alpha
        self.soft = SoftLoss(objective, training.network, teacher.head)
        self.learned = self.soft.projectors

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size and its detached parts by name.

        Args:
            predictions: the raw output of the student's head (`Predictions.of`).
            batch: ultralytics' training batch, with `img` (N, 3, H, W) in [0, 1].
        """
        hard, items = self.hard_loss(predictions, batch)
        soft, parts = self.soft_loss(predictions, batch["img"])
        total = self.alpha * soft * len(batch["img"]) + (1 - self.alpha) * hard.sum()
        return total, {**items, **{name: value.detach() for name, value in parts.items()}}

    def soft_loss(self, predictions: Any, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the soft loss per image, and its parts by name."""
        return self.soft(Predictions.of(predictions), self.teacher(images))
