"""The time that the trainings of a search will take, from the time that the first one took.

A training step is a forward and a backward pass of the student, about three times its arithmetic, and a forward pass
of the teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import mean

from src.searching.untrained import Arithmetic

PASSES = 3
"""Forward passes whose arithmetic a training step has: one forward, and two for the gradients."""


@dataclass(frozen=True)
class Load:
    """The arithmetic of one training step per image, GFLOPs.

    Attributes:
        distill: of the student before pruning.
        prune: of the pruned one.
    """

    distill: float
    prune: float

    @classmethod
    def of(cls, network: Arithmetic, teacher_gflops: float) -> Load:
        """Return the load of a network that a teacher teaches.

        >>> Load.of(Arithmetic(student_gflops=2.0, pruned_gflops=1.0), teacher_gflops=5.0)
        Load(distill=11.0, prune=8.0)
        """
        return cls(PASSES * network.student_gflops + teacher_gflops, PASSES * network.pruned_gflops + teacher_gflops)


def seconds(
    rungs: Sequence[tuple[int, int]],
    loads: Collection[Load],
    distillations: int,
    prune_epochs: Callable[[int], int],
    seconds_per_load: float,
) -> float:
    """Return the estimated seconds of all trainings.

    Args:
        rungs: number of networks and of epochs of each.
        loads: of all networks. Which of them reach a later rung is not known, so their mean counts.
        distillations: number of different ones in the first rung: networks that differ in the share of channels share
            theirs.
        prune_epochs: the epochs of prune in a rung of so many epochs.
        seconds_per_load: of one epoch.

    >>> seconds([(4, 1), (2, 3)], [Load(distill=2.0, prune=1.0)], 3, lambda epochs: epochs, seconds_per_load=10)
    280.0
    """
    distill, prune = mean(load.distill for load in loads), mean(load.prune for load in loads)
    return seconds_per_load * sum(
        min(count, distillations) * epochs * distill + count * prune_epochs(epochs) * prune for count, epochs in rungs
    )


def shown_time(duration_s: float) -> str:
    """Return a duration in words.

    >>> shown_time(42), shown_time(1500), shown_time(9000)
    ('42 s', '25 min', '2.5 h')
    """
    if duration_s < 100:
        return f"{duration_s:.0f} s"
    return f"{duration_s / 60:.0f} min" if duration_s < 6000 else f"{duration_s / 3600:.1f} h"
