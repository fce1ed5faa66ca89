"""The total that a student minimises: alpha * soft * T^2 + (1 - alpha) * hard.

Hinton et al. (arXiv 1503.02531, section 2). The factor T^2 keeps the gradients of the soft targets of one size while T
is varied: they shrink as 1 / T^2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.detector.training import Batch, Criterion
from src.distillation.localization import localization_divergence
from src.distillation.response import response_divergence
from src.distillation.teacher import Teacher, require_dense_head
from src.errors import UserError


def distillation_from(
    teacher: DetectionModel,
    class_names: Sequence[str],
    *,
    temperature: float,
    alpha: float,
    response: float,
    localization: float,
) -> Callable[[DetectionModel], DistillationLoss] | None:
    """Return what builds the distillation loss for a student; None for alpha = 0, which is ultralytics' own loss.

    Raises:
        UserError: the teacher cannot teach these classes.
    """
    guide = Teacher(teacher, class_names)
    if alpha == 0:
        return None
    return lambda student: DistillationLoss(
        student, guide, temperature=temperature, alpha=alpha, response=response, localization=localization
    )


class DistillationLoss:
    """Hard targets by ultralytics' own detection loss, soft targets by the teacher.

    The divergence at each place counts as much as the teacher is sure that something is there, and the sum is divided
    by the sum of these weights: most places are background, and would drown the rest.

    Args:
        student: the network that is trained.
        teacher: gives the soft targets, on the student's own augmented batch.
        temperature: T > 0.
        alpha: in [0, 1]; the share of the soft targets.
        response: weight of the class scores in the soft loss.
        localization: weight of the box distributions in it. A weight of 0 costs nothing.

    Raises:
        UserError: the two heads cannot be compared place by place.
    """

    def __init__(
        self,
        student: DetectionModel,
        teacher: Teacher,
        *,
        temperature: float,
        alpha: float,
        response: float,
        localization: float,
    ) -> None:
        require_dense_head(student, "student")
        if localization and student.model[-1].reg_max != teacher.bins:
            raise UserError(
                f"localization distillation compares bin by bin: the teacher's head has {teacher.bins} bins, "
                f"the student's {student.model[-1].reg_max}: set localization=0 or choose architectures that agree"
            )
        self.hard: Criterion = student.init_criterion()
        self.teacher = teacher.to(next(student.parameters()).device)
        self.temperature = temperature
        self.alpha = alpha
        self.response = response
        self.localization = localization

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size, in parts to be summed, and its detached parts by name.

        Args:
            predictions: the raw output of the student's head: `scores` (N, C, A) and `boxes` (N, 4 * R, A).
            batch: ultralytics' training batch, with `img` (N, 3, H, W) in [0, 1].
        """
        hard, items = self.hard(predictions, batch)
        targets = self.teacher(batch["img"])
        importance = targets.importance()
        total_importance = importance.sum().clamp(min=1)

        def at_important_places(divergence: Tensor) -> Tensor:
            return (divergence * importance).sum() / total_importance

        soft = hard.new_zeros(())
        if self.response:
            divergence = response_divergence(predictions["scores"], targets.scores, self.temperature)
            items["response"] = at_important_places(divergence)
            soft = soft + self.response * items["response"]
        if self.localization:
            divergence = localization_divergence(predictions["boxes"], targets.boxes, self.temperature)
            items["localization"] = at_important_places(divergence)
            soft = soft + self.localization * items["localization"]
        batch_size = len(batch["img"])
        total = self.alpha * soft * self.temperature**2 * batch_size + (1 - self.alpha) * hard.sum()
        return total, {name: value.detach() for name, value in items.items()}
