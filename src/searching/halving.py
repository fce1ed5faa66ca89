"""Successive halving: many networks train for few epochs, the best of them for more.

Jamieson and Talwalkar (arXiv 1502.07943). Each rung trains from the start: a learning rate that falls over 4 epochs
cannot be continued to 12. The last rung has the epochs of the pipeline, so the pipeline can repeat its trainings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        epochs: of the rung.
        value: by which networks are compared; higher is better.
    """

    epochs: int
    value: float


def rungs(full: int, eta: int, least: int) -> list[int]:
    """Return the epochs of each rung: those of the last one, divided by `eta` as long as `least` are left.

    >>> rungs(12, eta=3, least=1), rungs(12, eta=3, least=3), rungs(2, eta=3, least=5)
    ([1, 4, 12], [4, 12], [2])
    """
    found = [full]
    while found[0] / eta >= least:
        found.insert(0, round(found[0] / eta))
    return found


def scaled(epochs: int, part: int, whole: int, least: int = 1) -> int:
    """Return the epochs of another training in a rung that has `part` of `whole` epochs, at least `least`.

    >>> scaled(6, part=4, whole=12), scaled(6, part=1, whole=12), scaled(6, part=12, whole=12)
    (2, 1, 6)
    """
    return max(least, math.floor(epochs * part / whole))


def kept(count: int, eta: int) -> int:
    """Return the number of networks that go on after a rung.

    >>> [kept(count, eta=3) for count in (1, 3, 10)]
    [1, 1, 4]
    """
    return math.ceil(count / eta)


def trainings(count: int, epochs: Sequence[int], eta: int) -> list[tuple[int, int]]:
    """Return for each rung the number of its networks and its epochs.

    >>> trainings(10, [1, 4, 12], eta=3)
    [(10, 1), (4, 4), (2, 12)]
    """
    found = []
    for of_rung in epochs:
        found.append((count, of_rung))
        count = kept(count, eta)
    return found


def halve(
    networks: Iterable[N],
    epochs: Sequence[int],
    eta: int,
    train: Callable[[N, int], float],
    is_over: Callable[[], bool] = lambda: False,
) -> Iterator[dict[N, Trained]]:
    """Yield after each rung the outcomes of its networks; an incomplete rung is the last one.

    Args:
        networks: that enter the first rung. Of equal ones the first goes on.
        epochs: of each rung.
        eta: one of so many networks goes on.
        train: trains a network for so many epochs and returns its value.
        is_over: asked before each training; after a yes none starts.
    """
    entered = list(networks)
    for of_rung in epochs:
        outcomes: dict[N, Trained] = {}
        for network in entered:
            if is_over():
                break
            outcomes[network] = Trained(of_rung, train(network, of_rung))
        yield outcomes
        if len(outcomes) < len(entered):
            return
        ranked = sorted(outcomes, key=lambda network: outcomes[network].value, reverse=True)
        entered = ranked[: kept(len(ranked), eta)]
