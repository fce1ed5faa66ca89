"""Training losses: the interfaces of ultralytics' losses and of this project's, and the context of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

Batch = Mapping[str, Any]


class Criterion(Protocol):
    """A training loss with the interface of ultralytics' own."""

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in parts to be summed, times the batch size, and its detached parts by name.

        Args:
            predictions: the raw output of the network.
            batch: ultralytics' training batch.
        """


class LearningCriterion(Criterion, Protocol):
    """A training loss of this project, which can have weights of its own.

    Attributes:
        learned: modules that are trained along with the network (projectors, a peer), by the same optimizer.
        updates: number of epochs that have ended; it is set when a training is resumed.
    """

    learned: nn.Module
    updates: int

    def update(self) -> None:
        """Count an epoch that has ended."""


@dataclass(frozen=True)
class TrainingContext:
    """The training that a criterion is part of.

    Attributes:
        network: the network that is trained.
        batches_of: takes a folder of images and the number of an epoch, and returns an endless iterator over augmented
            batches (N, 3, H, W) in [0, 1] of these images, with the settings of the training but without mosaics. The
            batches are the same whenever that epoch begins with the same random state.
        seed: the seed of the training.
        epochs: number of epochs if the training does not stop early.
    """

    network: DetectionModel
    batches_of: Callable[[Path, int], Iterator[Tensor]]
    seed: int
    epochs: int


MakeCriterion = Callable[[TrainingContext], LearningCriterion]
