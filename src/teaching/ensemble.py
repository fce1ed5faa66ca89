"""Several teachers as one: the average of their scores and box distributions, optionally weighted by confidence.

You et al., "Learning from Multiple Teacher Networks" (KDD 2017) average softened outputs; Zhang et al.,
"Confidence-Aware Multi-teacher Knowledge Distillation" (arXiv 2201.00007) weight them by confidence. Their confidence
is measured against the label (eq. 2). Here it is the teacher's own best class score at the location, because most
locations have no label. Probabilities are averaged, not logits: one extreme logit would outweigh all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from src.distillation.losses.localization import EDGES
from src.distillation.predictions import ONE_TO_MANY, Branch, Head, Predictions
from src.distillation.teacher import Teacher
from src.foundation.errors import SettingError

SMALLEST = 1e-6
"""Averaged probabilities stay this far from 0 and 1, so that their logits are finite in half precision."""


def common_head(heads: Iterable[Head]) -> Head:
    """Return the shape of the head of an average. It has no channels: features of different networks have no average.

    Raises:
        SettingError: the strides or the numbers of bins differ, or there are no distributions.
    """
    shapes = {(head.strides, head.bins) for head in heads}
    strides, bins = min(shapes)
    if bins < 2 or len(shapes) > 1:
        listed = " and ".join(
            f"{bins} bins at strides {'/'.join(map(str, strides))}" for strides, bins in sorted(shapes)
        )
        raise SettingError(
            "teaching.others",
            "must have heads with the same strides and number of bins, as box distributions are averaged, got "
            f"{listed}: choose YOLOv8 or YOLO11 for all",
        )
    return Head(strides, bins, channels=())


class TeacherEnsemble:
    """Teachers whose predictions are averaged.

    Args:
        teachers: their architectures can differ, but their heads predict at the same locations with the same number of
            bins.
        by_confidence: weight each teacher at each location by its best class score there; else all have the same
            weight.

    Raises:
        SettingError: the heads cannot be averaged.
    """

    def __init__(self, teachers: Sequence[Teacher], *, by_confidence: bool) -> None:
        self.head = common_head(teacher.head for teacher in teachers)
        self.teachers = tuple(teachers)
        self.by_confidence = by_confidence

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        for teacher in self.teachers:
            teacher.to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Predictions:
        """Return the average predictions for images (N, 3, H, W) in [0, 1], without features."""
        branches = [teacher(images).branches[ONE_TO_MANY] for teacher in self.teachers]
        return Predictions({ONE_TO_MANY: average(branches, by_confidence=self.by_confidence)}, ()).rounded()


def average(branches: Sequence[Branch], *, by_confidence: bool) -> Branch:
    """Return one branch whose probabilities are the weighted means of the given branches.

    Args:
        branches: one per teacher, of the same shapes.
        by_confidence: the weights are the best class scores at each location; else they are equal.
    """
    confidence = torch.stack([branch.importance() for branch in branches])  # (teachers, N, A)
    weights = confidence if by_confidence else torch.ones_like(confidence)
    weights = (weights / weights.sum(dim=0))[:, :, None]  # (teachers, N, 1, A)
    probabilities = (weights * torch.stack([branch.scores.sigmoid() for branch in branches])).sum(dim=0)
    scores = probabilities.clamp(SMALLEST, 1 - SMALLEST).logit()
    edges = [log_softmax(branch.boxes.unflatten(1, (EDGES, -1)), dim=2).exp() for branch in branches]
    boxes = (weights[:, :, :, None] * torch.stack(edges)).sum(dim=0).clamp(min=SMALLEST).log().flatten(1, 2)
    return Branch(scores, boxes)
