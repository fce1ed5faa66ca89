"""Self-distillation from a moving average: the teacher is the average of the student's own past weights.

Tarvainen and Valpola, "Mean teachers are better role models" (arXiv 1703.01780): the teacher's weights are an
exponential moving average of the student's, with a short memory while the soft share is ramped up (section 3 and
appendix B). torch's `AveragedModel` computes it. The average that ultralytics validates is not used: its decay rises so
slowly that for the first thousand steps it is nearly equal to the student one step before. As in the paper, the teacher
normalizes with the statistics of its own batch. Unlike in the paper, both get the same augmented batch, so that their
boxes match.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from src.detector.criterion import Batch, MakeCriterion, TrainingContext
from src.distillation.distillation_loss import DistillationLoss
from src.distillation.objective import Objective
from src.distillation.predictions import Head, Predictions

RAMP_UP = 80 / 300
"""Share of the training after which soft targets have their full weight: 80 of 300 epochs in the paper."""

EARLY_DECAY, LATE_DECAY = 0.99, 0.999
"""Decay of the average per step, while soft targets are ramped up and afterwards, as in the paper."""


class MovingAverage:
    """The moving average of a network in training, as its teacher.

    Args:
        training: the training of the network.
        decay: returns the weight of the old average in a step.

    Attributes:
        averaged: the average of the weights and the number of steps.
    """

    def __init__(self, training: TrainingContext, decay: Callable[[], float]) -> None:
        def keep(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
            # The first steps have equal weights, so that the initial weights have no larger share than later ones.
            return torch.lerp(now, average, min(decay(), 1 - 1 / (int(steps) + 1)))

        self.head = Head.of(training.network)
        self.averaged = AveragedModel(training.network, avg_fn=keep).requires_grad_(False)
        self._network = training.network

    def to(self, device: torch.device) -> None:
        """Do nothing: the average is on the device of the training."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Predictions:
        """Add the network's weights to the average, and return its predictions for images (N, 3, H, W) in [0, 1]."""
        self.averaged.update_parameters(self._network)
        return Predictions.of(self.averaged.train()(images))


class MeanTeacherLoss(DistillationLoss):
    """The distillation loss with the moving average as teacher, and a soft share that is ramped up over the epochs."""

    def __init__(self, training: TrainingContext, objective: Objective) -> None:
        self._full_alpha = objective.alpha
        self._epochs = training.epochs
        teacher = MovingAverage(training, lambda: EARLY_DECAY if self.progress < RAMP_UP else LATE_DECAY)
        super().__init__(training, teacher, objective)
        # The average is not learned, but it is part of the state that an interrupted training needs.
        self.learned = nn.ModuleDict({"projectors": self.soft.projectors, "average": teacher.averaged})

    @property
    def progress(self) -> float:
        """The share of the training that has ended, in [0, 1]."""
        return self.updates / self._epochs

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss times the batch size and its detached parts by name."""
        self.alpha = self._full_alpha * ramp_up(self.progress)
        return super().__call__(predictions, batch)


def ramp_up(progress: float) -> float:
    """Return the factor on the full weight of soft targets, in [0, 1], at this share of the training.

    >>> round(ramp_up(0.0), 4), ramp_up(RAMP_UP)
    (0.0067, 1.0)
    """
    return exp(-5 * (1 - min(1.0, progress / RAMP_UP)) ** 2)


def distillation_from_moving_average(objective: Objective) -> MakeCriterion:
    """Return a function that makes the distillation loss with the student's moving average as teacher."""
    return lambda training: MeanTeacherLoss(training, objective)
