"""Learning from the boxes that any detector predicted: nothing is known of it but its boxes and their scores.

The soft loss is the student's own detection loss with these boxes as objects. ultralytics' loss assigns each object to
locations of the head, and the class targets there are a * y: a in [0, 1] tells how well the location fits (Feng et al.,
"TOOD", arXiv 2108.07755, eq. 1 and section 3.2), y is 1 for the label's class. Here y is the score of each class,
softened by the temperature as in Hinton et al. (arXiv 1503.02531, section 2), of whose softmax a Bernoulli distribution
remains:

    y = sigmoid(logit(score) / T)

A binary cross entropy with a target between 0 and 1 is the quality focal loss without its focusing factor (Li et al.,
"Generalized Focal Loss", arXiv 2006.04388, eq. 4, beta = 0). The losses of a location's box are weighted by the sum of
its class targets, as ultralytics does, so an unsure box counts little. A score of 1 is 1 at each temperature: boxes and
classes of the labels with the score 1 give the hard loss.

The weight `response` is that of the loss of classes, `localization` that of the losses of boxes (overlap and
distributions); losses of features need a network. The total is alpha * soft * T^2 + (1 - alpha) * hard, as for every
teacher. Other than there, T does not soften the student's predictions: most locations are background, of which a file
of detections has no scores, and softened they would outweigh all objects. So the gradients do not shrink with T, and
T^2 raises the share of the soft loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from src.detector.added_boxes import AddedBoxes
from src.detector.criterion import Batch, MakeCriterion, TrainingContext
from src.distillation.distillation_loss import HardLoss
from src.distillation.objective import Objective
from src.foundation.errors import SettingError
from src.teaching.unlabelled import Soft, UnlabelledBatches, mean_of_both


@dataclass(frozen=True)
class PredictedBoxes:
    """The boxes of a dataset's training images.

    Attributes:
        scores: (K, C), the score of each class for each number of a box, [0, 1]. The first C rows are those of labels:
            the score 1 for the class of that number.
        labelled: boxes of the labelled images. One without is taught by its labels.
        unlabelled: boxes of the images without labels.
    """

    scores: NDArray[np.float32]
    labelled: AddedBoxes
    unlabelled: AddedBoxes


def learning_from_boxes(predicted: PredictedBoxes, folder: Path | None, objective: Objective) -> MakeCriterion:
    """Return a function that makes the loss of a student of predicted boxes.

    Args:
        predicted: the boxes.
        folder: of the images without labels; None: there are none.
        objective: weights and temperature of the losses.

    Raises:
        SettingError: the objective compares features.
    """
    if objective.compares_features:
        raise SettingError(
            "distillation",
            "must not compare features, as a file of detections has none: choose one without, such as "
            "distillation=heads",
        )
    return lambda training: PredictedBoxesLoss(training, predicted, folder, objective)


class PredictedBoxesLoss(HardLoss):
    """Hard targets from the labels, soft targets from predicted boxes.

    Args:
        training: the training of the student.
        predicted: the boxes.
        folder: of the images without labels, from which half of the soft loss comes; None: there are none.
        objective: weights and temperature of the losses.
    """

    def __init__(
        self, training: TrainingContext, predicted: PredictedBoxes, folder: Path | None, objective: Objective
    ) -> None:
        super().__init__(training)
        self.alpha = objective.alpha
        self._objective = objective
        self._student: DetectionModel = training.network
        scores = torch.from_numpy(predicted.scores).to(next(training.network.parameters()).device)
        self._scores = softened(scores, objective.temperature)
        self._assigners = score_assigners(self.hard)
        training.add_boxes(predicted.labelled)
        self._unlabelled = UnlabelledBatches(training, folder, predicted.unlabelled) if folder else None

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size and its detached parts by name.

        Args:
            predictions: the raw output of the student's head.
            batch: ultralytics' training batch, with the predicted boxes under `added` (`src.detector.added_boxes`).
        """
        hard, items = self.hard(predictions, batch)
        soft, parts = self._soft_loss(predictions, batch)
        if self._unlabelled is not None:
            unlabelled = self._unlabelled.of_epoch(self.updates)
            predicted = self._soft_loss(self._student(unlabelled["img"]), unlabelled)
            soft, parts = mean_of_both((soft, parts), predicted)
        total = self.alpha * soft * len(batch["img"]) + (1 - self.alpha) * hard.sum()
        return total, {**items, **{name: value.detach() for name, value in parts.items()}}

    def _soft_loss(self, predictions: Any, batch: Batch) -> Soft:
        """Return the soft loss per image, with the factor T^2, and its unscaled parts by name."""
        added = batch["added"]
        rows = torch.arange(len(added["numbers"]), device=added["bboxes"].device, dtype=added["bboxes"].dtype)
        targets = {"batch_idx": added["batch_idx"], "cls": rows[:, None], "bboxes": added["bboxes"]}
        with _scored(self._assigners, self._scores[added["numbers"].to(self._scores.device)]):
            box, classes, distribution = self.hard(predictions, targets)[0] / len(batch["img"])
        parts = {"response": classes, "localization": box + distribution}
        scaled = [self._objective.scale(name) * parts[name] for name in self._objective.weights]
        return torch.stack(scaled).sum(), parts


def softened(scores: Tensor, temperature: float) -> Tensor:
    """Return sigmoid(logit(score) / T) of scores in [0, 1]. 0 and 1 stay.

    >>> softened(torch.tensor([0.0, 0.9, 1.0]), 2.0)
    tensor([0.0000, 0.7500, 1.0000])
    """
    return (scores.logit() / temperature).sigmoid()


class ScoreAssigner(nn.Module):
    """ultralytics' assigner of objects to locations, which also assigns objects with a score for each class.

    Args:
        inner: ultralytics' own.

    Attributes:
        scores: (M, C), for each object; the class of an object is then its row. None: objects have a class, and the
            result is that of `inner` to the bit.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.scores: Tensor | None = None

    @torch.no_grad()
    def forward(
        self,
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
        **extra: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the labels, boxes and class scores of locations, which of them have an object, and its index.

        The assignment is made by the best class of each object.
        """
        if self.scores is None or gt_bboxes.shape[1] == 0:
            found: tuple[Tensor, ...] = self.inner(
                pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt, **extra
            )
            return found
        scores = self.scores[gt_labels.squeeze(-1).long()]  # (N, objects, C)
        best = scores.argmax(dim=-1, keepdim=True).to(gt_labels.dtype)
        labels, boxes, fitting, has_object, index = self.inner(
            pd_scores, pd_bboxes, anc_points, best, gt_bboxes, mask_gt, **extra
        )
        of_location = scores.gather(1, index[..., None].expand(-1, -1, scores.shape[-1]))  # (N, A, C)
        return labels, boxes, fitting.sum(dim=-1, keepdim=True) * of_location, has_object, index


def score_assigners(criterion: Any) -> list[ScoreAssigner]:
    """Replace the assigner of each branch of ultralytics' detection loss by a `ScoreAssigner`, and return these."""
    branches = [criterion.one2many, criterion.one2one] if hasattr(criterion, "one2many") else [criterion]
    for branch in branches:
        branch.assigner = ScoreAssigner(branch.assigner)
    return [branch.assigner for branch in branches]


@contextmanager
def _scored(assigners: Sequence[ScoreAssigner], scores: Tensor) -> Iterator[None]:
    for assigner in assigners:
        assigner.scores = scores
    yield
    for assigner in assigners:
        assigner.scores = None
