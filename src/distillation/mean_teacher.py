"""Self-distillation from a moving average: the teacher is the student's own past.

Tarvainen and Valpola, "Mean teachers are better role models" (arXiv 1703.01780): the teacher's weights are an
exponential moving average of the student's. The average is the one that ultralytics keeps anyway and
validates. The soft share is ramped up over the first part of the training, as in the paper's section 3. In a short
training from scratch it hurts all the same: after 6 epochs on the digits 35 points of mAP50-95 below labels alone with
the ramp, 36 without (reports/benchmarks/distillation.md).
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.detector.training import Batch, InTraining, MakeCriterion
from src.distillation.loss import DistillationLoss
from src.distillation.predictions import Predictions, bins, feature_channels
from src.distillation.soft import Objective

RAMP_UP = 80 / 300
"""The part of the training after which the soft targets have their full weight: 80 of 300 epochs in the paper."""


class MovingAverage:
    """The moving average of a network in training, as its teacher."""

    def __init__(self, training: InTraining) -> None:
        self.channels = feature_channels(training.network)
        self.bins = bins(training.network)
        self._network: Callable[[], DetectionModel] = training.moving_average

    def to(self, device: torch.device) -> None:
        """Do nothing: it is where the training is."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Predictions:
        """Return what the average says by now of images (N, 3, H, W) in [0, 1]."""
        _, raw = self._network().eval()(images)
        return Predictions.of(raw)


class MeanTeacherLoss(DistillationLoss):
    """The distillation loss with the moving average as teacher, and a soft share that is ramped up by the epoch."""

    def __init__(self, training: InTraining, objective: Objective) -> None:
        super().__init__(training, MovingAverage(training), objective)
        self._full_alpha = objective.alpha
        self._epochs = training.epochs

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size and its detached parts by name."""
        self.alpha = self._full_alpha * ramp_up(self.updates / self._epochs)
        return super().__call__(predictions, batch)


def ramp_up(progress: float) -> float:
    """Return the share of the soft targets' full weight after that much of the training, both in [0, 1]."""
    return exp(-5 * (1 - min(1.0, progress / RAMP_UP)) ** 2)


def distillation_from_moving_average(objective: Objective) -> MakeCriterion:
    """Return what builds the distillation loss with the student's moving average as teacher."""
    return lambda training: MeanTeacherLoss(training, objective)
