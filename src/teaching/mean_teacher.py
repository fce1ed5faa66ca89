"""Self-distillation from a moving average: the teacher is the student's own past.

Tarvainen and Valpola, "Mean teachers are better role models" (arXiv 1703.01780): the teacher's weights are an
exponential moving average of the student's, of short memory while the soft share is ramped up (section 3 and appendix
B). It is kept by torch's `AveragedModel` and not the average that ultralytics validates, whose decay climbs so slowly
that for the first thousand steps it is the student of one step ago. As in the paper the teacher normalizes by the
statistics of its own batch. Unlike there both see the same augmented batch: boxes have to be where they were.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from src.detector.training import Batch, InTraining, MakeCriterion
from src.distillation.distillation_loss import DistillationLoss
from src.distillation.predictions import Predictions, bins, feature_channels
from src.distillation.soft_loss import Objective

RAMP_UP = 80 / 300
"""The part of the training after which the soft targets have their full weight: 80 of 300 epochs in the paper."""

EARLY_DECAY, LATE_DECAY = 0.99, 0.999
"""Of the average, in each step, while the soft targets are ramped up and afterwards, as in the paper."""


class MovingAverage:
    """The moving average of a network in training, as its teacher.

    Args:
        training: of the network.
        decay: returns what the average keeps of itself in a step.

    Attributes:
        averaged: its weights, and of how many steps they are.
    """

    def __init__(self, training: InTraining, decay: Callable[[], float]) -> None:
        def keep(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
            # The first steps count alike, or the average would remember what it began with.
            return torch.lerp(now, average, min(decay(), 1 - 1 / (int(steps) + 1)))

        self.channels = feature_channels(training.network)
        self.bins = bins(training.network)
        self.averaged = AveragedModel(training.network, avg_fn=keep).requires_grad_(False)
        self._network = training.network

    def to(self, device: torch.device) -> None:
        """Do nothing: it is where the training is."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Predictions:
        """Take a step with the network, and return what the average says of images (N, 3, H, W) in [0, 1]."""
        self.averaged.update_parameters(self._network)
        return Predictions.of(self.averaged.train()(images))


class MeanTeacherLoss(DistillationLoss):
    """The distillation loss with the moving average as teacher, and a soft share that is ramped up by the epoch."""

    def __init__(self, training: InTraining, objective: Objective) -> None:
        self._full_alpha = objective.alpha
        self._epochs = training.epochs
        teacher = MovingAverage(training, lambda: EARLY_DECAY if self.progress < RAMP_UP else LATE_DECAY)
        super().__init__(training, teacher, objective)
        # Not learned, but a state of the training, to which an interrupted one returns.
        self.learned = nn.ModuleDict({"projectors": self.soft.projectors, "average": teacher.averaged})

    @property
    def progress(self) -> float:
        """The part of the training that is over, in [0, 1]."""
        return self.updates / self._epochs

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size and its detached parts by name."""
        self.alpha = self._full_alpha * ramp_up(self.progress)
        return super().__call__(predictions, batch)


def ramp_up(progress: float) -> float:
    """Return the share of the soft targets' full weight after that much of the training, both in [0, 1]."""
    return exp(-5 * (1 - min(1.0, progress / RAMP_UP)) ** 2)


def distillation_from_moving_average(objective: Objective) -> MakeCriterion:
    """Return what builds the distillation loss with the student's moving average as teacher."""
    return lambda training: MeanTeacherLoss(training, objective)
