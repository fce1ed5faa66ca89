"""Mutual learning: two networks are trained at the same time, on the labels and on each other's predictions.

Zhang et al., "Deep Mutual Learning" (arXiv 1706.00384, eq. 5 to 7): each network minimises its own hard loss and the
divergence from the other's prediction, which is held fixed. There is no teacher. In the paper the two take turns. Here
both take their step at the same time, on the same batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from src.detector.criterion import Batch, MakeCriterion, TrainingContext
from src.distillation.distillation_loss import HardLoss
from src.distillation.objective import Objective
from src.distillation.predictions import Head, Predictions
from src.distillation.soft_loss import SoftLoss


def mutual_learning(architecture: str, objective: Objective) -> MakeCriterion:
    """Return a function that makes the loss of a student and its peer.

    Args:
        architecture: the peer's architecture, by ultralytics' name. Its initial random weights differ from the
            student's.
        objective: the objective of both.
    """
    return lambda training: MutualLoss(training, _peer_of(training, architecture), objective)


class MutualLoss(HardLoss):
    """The sum of both networks' totals: each alpha * soft * T^2 + (1 - alpha) * hard.

    The peer is discarded after the training.

    Raises:
        SettingError: one of the losses cannot compare the two heads.
    """

    def __init__(self, training: TrainingContext, peer: DetectionModel, objective: Objective) -> None:
        super().__init__(training)
        network = training.network
        self.peer = peer
        self.peer_hard = peer.init_criterion()
        self.counting.append(self.peer_hard)
        self.alpha = objective.alpha
        self.soft, self.peer_soft = (
            SoftLoss(objective, student, Head.of(teacher)) for student, teacher in ((network, peer), (peer, network))
        )
        self.learned = nn.ModuleDict(
            {"peer": peer, "projectors": self.soft.projectors, "peer_projectors": self.peer_soft.projectors}
        )

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of both losses times the batch size, and the detached parts of the student's by name."""
        images = batch["img"]
        peer_predictions = self.peer(images)
        hard, items = self.hard_loss(predictions, batch)
        peer_hard, _ = self.peer_hard(peer_predictions, batch)
        own, other = Predictions.of(predictions), Predictions.of(peer_predictions)
        soft, parts = self.soft(own, other.map(Tensor.detach))
        peer_soft, _ = self.peer_soft(other, own.map(Tensor.detach))
        total = self.alpha * (soft + peer_soft) * len(images) + (1 - self.alpha) * (hard.sum() + peer_hard.sum())
        return total, {**items, **{name: value.detach() for name, value in parts.items()}}


def _peer_of(training: TrainingContext, architecture: str) -> DetectionModel:
    network = training.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed + 1)
        peer = DetectionModel(architecture, nc=network.model[-1].nc, verbose=False)
    peer.args = network.args
    peer.names = network.names
    return peer.to(next(network.parameters()).device).train()
