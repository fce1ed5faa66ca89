"""The soft loss: what a student's predictions lack to be its teacher's.

The divergence at each place counts as much as the teacher is sure that something is there, and the sum is divided by
the sum of these weights: most places are background, and would drown the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from src.distillation.losses.channel_wise import channel_wise_divergence, channel_wise_projector
from src.distillation.losses.feature import feature_difference, feature_projector
from src.distillation.losses.localization import localization_divergence
from src.distillation.losses.response import response_divergence
from src.distillation.predictions import ONE_TO_MANY, Branch, Predictions, bins, feature_channels
from src.foundation.errors import UserError

SURE = 0.01
"""Where no class reaches this score the teacher's box is of nothing, and is not compared.

Measured on 64 training images of the digits these are 89% of the places, and without their boxes what a teacher says
takes 0.23 of the space in the cache.
"""


@dataclass(frozen=True)
class SoftWeights:
    """The weight of each loss in the soft loss. What has a weight of 0 is not computed."""

    response: float
    localization: float
    feature: float
    channel_wise: float

    @property
    def any(self) -> bool:
        """Whether there is anything to learn from a teacher."""
        return any((self.response, self.localization, self.feature, self.channel_wise))

    @property
    def features(self) -> bool:
        """Whether features are compared."""
        return bool(self.feature or self.channel_wise)


@dataclass(frozen=True)
class Objective:
    """What a student minimises: alpha * soft * T^2 + (1 - alpha) * hard.

    Attributes:
        temperature: T > 0, of response and localization.
        alpha: in [0, 1]; the share of the soft targets.
        weights: of the losses in the soft loss.
    """

    temperature: float
    alpha: float
    weights: SoftWeights


class SoftLoss:
    """Compares a student's predictions with its teacher's on the same images.

    Args:
        objective: which losses, and their temperature.
        student: the network that learns.
        teacher_channels: how many channels the teacher's head reads at each level.
        teacher_bins: of the teacher's box distributions.

    Attributes:
        projectors: between the features of the two; trained along with the student. Empty if none are compared.

    Raises:
        UserError: a loss has no meaning for these two heads.
    """

    def __init__(
        self,
        objective: Objective,
        student: DetectionModel,
        *,
        teacher_channels: tuple[int, ...],
        teacher_bins: int,
    ) -> None:
        weights = objective.weights
        if weights.localization:
            _require_same_bins(bins(student), teacher_bins)
        own_channels = feature_channels(student)
        if weights.features and len(own_channels) != len(teacher_channels):
            raise UserError(
                f"feature distillation compares level by level: the teacher's head reads {len(teacher_channels)}, the "
                f"student's {len(own_channels)}: set distillation.feature=0 and distillation.channel_wise=0"
            )
        self.weights = weights
        self.temperature = objective.temperature
        pairs = list(zip(own_channels, teacher_channels, strict=False))
        self.projectors = nn.ModuleDict()
        if weights.feature:
            self.projectors["feature"] = nn.ModuleList(feature_projector(*pair) for pair in pairs)
        if weights.channel_wise:
            self.projectors["channel_wise"] = nn.ModuleList(channel_wise_projector(*pair) for pair in pairs)
        self.projectors.to(next(student.parameters()).device)

    def __call__(self, student: Predictions, teacher: Predictions) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum and its parts by name, before their weights.

        The sum is that of an image; where a temperature softens targets it includes the factor T^2.
        """
        parts = self._of_heads(student, teacher)
        if self.weights.features:
            parts.update(self._of_features(student, teacher))
        scale = {"response": self.temperature**2, "localization": self.temperature**2}
        weighted = [getattr(self.weights, name) * scale.get(name, 1.0) * value for name, value in parts.items()]
        total = torch.stack(weighted).sum() if weighted else teacher.features[0].new_zeros(())
        return total, parts

    def _of_heads(self, student: Predictions, teacher: Predictions) -> dict[str, Tensor]:
        """Compare branch by branch: a one-to-one branch has nothing to learn from a head that predicts duplicates."""
        found: dict[str, list[Tensor]] = {}
        for name in student.branches.keys() & teacher.branches.keys():
            for part, value in self._of_branch(student.branches[name], teacher.branches[name]).items():
                found.setdefault(part, []).append(value)
        return {part: torch.stack(values).mean() for part, values in sorted(found.items(), reverse=True)}

    def _of_branch(self, student: Branch, teacher: Branch) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        importance = teacher.importance()
        if self.weights.response:
            divergence = response_divergence(student.scores, teacher.scores, self.temperature)
            parts["response"] = (divergence * importance).sum() / importance.sum().clamp(min=1)
        if self.weights.localization:
            sure = importance >= SURE
            z_s, z_t = (branch.boxes.transpose(1, 2)[sure].T[None] for branch in (student, teacher))  # (1, 4 * R, K)
            divergence = localization_divergence(z_s, z_t, self.temperature)[0]
            parts["localization"] = (divergence * importance[sure]).sum() / importance[sure].sum().clamp(min=1)
        return parts

    def _of_features(self, student: Predictions, teacher: Predictions) -> dict[str, Tensor]:
        """Sum over the levels."""
        sizes = [level.shape[2] * level.shape[3] for level in teacher.features]
        importance = teacher.branches[ONE_TO_MANY].importance().split(sizes, dim=1)
        parts: dict[str, Tensor] = {}
        for name, projectors in self.projectors.items():
            assert isinstance(projectors, nn.ModuleList)
            compared = []
            for level, project in enumerate(projectors):
                own, taught = project(student.features[level]), teacher.features[level]
                if name == "feature":
                    compared.append(feature_difference(own, taught, importance[level]))
                else:
                    compared.append(channel_wise_divergence(own, taught))
            parts[name] = torch.stack(compared).sum()
        return parts


def _require_same_bins(student: int, teacher: int) -> None:
    for role, found in (("teacher", teacher), ("student", student)):
        if found < 2:
            raise UserError(
                f"localization distillation compares box distributions, and the {role}'s head has none (YOLO26): "
                "set distillation.localization=0, or choose YOLOv8 or YOLO11"
            )
    if student != teacher:
        raise UserError(
            f"localization distillation compares bin by bin: the teacher's head has {teacher} bins, the student's "
            f"{student}: set distillation.localization=0 or choose architectures that agree"
        )
