"""The soft loss: how far the student's predictions are from the teacher's.

The weight of a location is the teacher's best class score there, its confidence that an object is there. The sum is
divided by the sum of these weights. Most locations are background; without the weights they would outweigh all objects.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from src.distillation.losses import DISTRIBUTIONS, FEATURES, LOSSES, SCORES, Loss
from src.distillation.objective import Objective
from src.distillation.predictions import ONE_TO_MANY, Branch, Head, Predictions
from src.foundation.errors import SettingError

SURE = 0.01
"""Boxes are compared only where the teacher's best class score is at least this: elsewhere its boxes are meaningless.

On 64 training images of the digits this leaves out 89% of the locations, and the teacher's predictions take 0.23 of the
space in the cache.
"""


class SoftLoss:
    """Compares a student's predictions with its teacher's on the same images.

    Args:
        objective: the losses, their weights and the temperature.
        student: the student's network.
        teacher: the shape of the teacher's head.

    Attributes:
        projectors: modules between the features of the two, by loss and level, trained along with the student. Empty if
            no features are compared.

    Raises:
        SettingError: one of the losses cannot compare the two heads.
    """

    def __init__(self, objective: Objective, student: DetectionModel, teacher: Head) -> None:
        compared = {name: LOSSES[name].compares for name in objective.weights}
        own = Head.of(student)
        _expect_same_strides(own.strides, teacher.strides)
        if DISTRIBUTIONS in compared.values():
            _expect_same_bins(own.bins, teacher.bins)
        self.objective = objective
        self.projectors = nn.ModuleDict()
        for name in (name for name, part in compared.items() if part == FEATURES):
            pairs = zip(own.channels, teacher.channels, strict=True)
            self.projectors[name] = nn.ModuleList(LOSSES[name].project(*pair) for pair in pairs)
        self.projectors.to(next(student.parameters()).device)

    def __call__(self, student: Predictions, teacher: Predictions) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the soft loss per image, with the factor T^2 where T softens targets, and its unscaled parts."""
        parts = {
            name: self._of_features(name, student, teacher)
            if LOSSES[name].compares == FEATURES
            else self._of_heads(LOSSES[name], student, teacher)
            for name in self.objective.weights
        }
        return torch.stack([self.objective.scale(name) * value for name, value in parts.items()]).sum(), parts

    def _of_heads(self, loss: Loss, student: Predictions, teacher: Predictions) -> Tensor:
        """Average over the branches of both: a one2one branch cannot learn from a head that predicts duplicates."""
        shared = student.branches.keys() & teacher.branches.keys()
        found = [self._of_branch(loss, student.branches[name], teacher.branches[name]) for name in shared]
        return torch.stack(found).mean()

    def _of_branch(self, loss: Loss, student: Branch, teacher: Branch) -> Tensor:
        importance = teacher.importance()
        if loss.compares == SCORES:
            divergence = loss.compare(student.scores, teacher.scores, self.objective.temperature)
        else:
            sure = importance >= SURE
            z_s, z_t = (branch.boxes.transpose(1, 2)[sure].T[None] for branch in (student, teacher))  # (1, 4 * R, K)
            divergence = loss.compare(z_s, z_t, self.objective.temperature)[0]
            importance = importance[sure]
        weighted: Tensor = (divergence * importance).sum() / importance.sum().clamp(min=1)
        return weighted

    def _of_features(self, name: str, student: Predictions, teacher: Predictions) -> Tensor:
        """Return the sum of a feature loss over the levels."""
        sizes = [level.shape[2] * level.shape[3] for level in teacher.features]
        importance = teacher.branches[ONE_TO_MANY].importance().split(sizes, dim=1)
        projectors = self.projectors[name]
        assert isinstance(projectors, nn.ModuleList)
        compared = [
            LOSSES[name].compare(project(student_level), teacher_level, weight)
            for project, student_level, teacher_level, weight in zip(
                projectors, student.features, teacher.features, importance, strict=True
            )
        ]
        return torch.stack(compared).sum()


def _expect_same_bins(student: int, teacher: int) -> None:
    for role, found in (("teacher", teacher), ("student", student)):
        if found < 2:
            raise SettingError(
                "distillation.localization",
                f"compares box distributions, and the {role}'s head has none (YOLO26): choose a distillation that "
                "compares the boxes themselves, such as heads_overlap",
            )
    if student != teacher:
        raise SettingError(
            "distillation.localization",
            f"compares bin by bin: the teacher's head has {teacher} bins, the student's {student}: choose a "
            "distillation that compares the boxes themselves, such as heads_overlap",
        )


def _expect_same_strides(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    if student != teacher:
        raise SettingError(
            "student",
            f"predicts at other locations than its teacher: its head has the strides {', '.join(map(str, student))} "
            f"px, the teacher's {', '.join(map(str, teacher))} px: choose architectures with the same strides",
        )
