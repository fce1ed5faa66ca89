"""Several teachers as one: their scores and box distributions averaged, or weighted by how sure each is of a place.

You et al., "Learning from Multiple Teacher Networks" (KDD 2017) average softened outputs; Zhang et al.,
"Confidence-Aware Multi-teacher Knowledge Distillation" (arXiv 2201.00007) weight them by confidence. Theirs is measured
against the label (eq. 2); here it is the teacher's own best class score at the place, as most places have no label.
Probabilities are averaged, not logits: a logit far out would outvote the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from src.distillation.frozen_teacher import Teaching
from src.distillation.losses.localization import EDGES
from src.distillation.predictions import ONE_TO_MANY, Branch, Predictions
from src.foundation.errors import UserError

SMALLEST = 1e-6
"""Averaged probabilities stay this far from 0 and 1, so that their logits are finite in half precision."""


def common_bins(of_teachers: Iterable[int]) -> int:
    """Return how many bins the box distributions of all teachers have.

    Raises:
        UserError: they differ, or there are no distributions.
    """
    found = sorted(set(of_teachers))
    if found[0] < 2 or len(found) > 1:
        listed = " and ".join(map(str, found))
        raise UserError(
            f"teaching: an ensemble averages box distributions, and its teachers' heads have {listed} bins: "
            "choose YOLOv8 or YOLO11 for all of them"
        )
    return found[0]


class Ensemble:
    """Teachers that speak with one voice.

    Args:
        teachers: of any architectures whose heads predict at the same places with the same bins.
        by_confidence: weight them place by place by their best class score; else all count the same.

    Raises:
        UserError: the heads cannot be averaged.
    """

    channels: tuple[int, ...] = ()  # there is no average of features

    def __init__(self, teachers: Sequence[Teaching], *, by_confidence: bool) -> None:
        self.bins = common_bins(teacher.bins for teacher in teachers)
        self.teachers = tuple(teachers)
        self.by_confidence = by_confidence

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        for teacher in self.teachers:
            teacher.to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Predictions:
        """Return the average of what they say of images (N, 3, H, W) in [0, 1]; there are no features."""
        said = [teacher(images).branches[ONE_TO_MANY] for teacher in self.teachers]
        return Predictions({ONE_TO_MANY: average(said, by_confidence=self.by_confidence)}, ()).rounded()


def average(said: Sequence[Branch], *, by_confidence: bool) -> Branch:
    """Return one branch whose probabilities are the weighted means of the given ones'.

    Args:
        said: of each teacher, of the same shapes.
        by_confidence: weights are the best class scores, place by place; else equal.
    """
    confidence = torch.stack([branch.importance() for branch in said])  # (teachers, N, A)
    weights = confidence if by_confidence else torch.ones_like(confidence)
    weights = (weights / weights.sum(dim=0))[:, :, None]  # (teachers, N, 1, A)
    probabilities = (weights * torch.stack([branch.scores.sigmoid() for branch in said])).sum(dim=0)
    scores = probabilities.clamp(SMALLEST, 1 - SMALLEST).logit()
    edges = [log_softmax(branch.boxes.unflatten(1, (EDGES, -1)), dim=2).exp() for branch in said]
    boxes = (weights[:, :, :, None] * torch.stack(edges)).sum(dim=0).clamp(min=SMALLEST).log().flatten(1, 2)
    return Branch(scores, boxes)
