"""Training losses: the interfaces of ultralytics' losses and of this project's, and the context of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from src.detector.added_boxes import AddedBoxes

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
        batches_of: takes a folder of images, the number of an epoch and boxes beside the labels by the name of the
            image's file (`added_boxes`; None: none), and returns an endless iterator over augmented batches of these
            images, with the settings of the training but without mosaics. The batches are the same whenever that epoch
            begins with the same random state.
        add_boxes: adds such boxes to the training images. Every batch then has them under `added`.
        seed: the seed of the training.
        epochs: number of epochs if the training does not stop early.
    """

    network: DetectionModel
    batches_of: Callable[[Path, int, AddedBoxes | None], Iterator[Batch]]
    add_boxes: Callable[[AddedBoxes], None]
    seed: int
    epochs: int


MakeCriterion = Callable[[TrainingContext], LearningCriterion]
