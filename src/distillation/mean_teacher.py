"""Self-distillation from a moving average: the teacher is the student's own past.

Tarvainen and Valpola, "Mean teachers are better role models" (arXiv 1703.01780): the teacher's weights are an
exponential moving average of the student's. The average is the one that ultralytics keeps anyway and validates. The
paper ramps the soft loss up while the average knows nothing; here places count by how sure the teacher is, which does
the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.detector.training import InTraining, MakeCriterion
from src.distillation.loss import DistillationLoss
from src.distillation.predictions import Predictions, bins, feature_channels
from src.distillation.soft import Objective


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


def distillation_from_moving_average(objective: Objective) -> MakeCriterion:
    """Return what builds the distillation loss with the student's moving average as teacher."""
    return lambda training: DistillationLoss(training, MovingAverage(training), objective)
