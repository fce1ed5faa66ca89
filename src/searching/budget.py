"""A budget of latency and size, and the choice within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

N = TypeVar("N")


@dataclass(frozen=True)
class Cost:
    """The cost of an INT8 network.

    Attributes:
        p50_ms, p95_ms: median and 95th percentile of the time of one forward pass.
        mib: size of its file.
    """

    p50_ms: float
    p95_ms: float
    mib: float


@dataclass(frozen=True)
class Budget:
    """The largest median latency, ms, and the largest size, MiB; None: no limit."""

    ms: float | None
    mib: float | None

    def used(self, cost: Cost) -> float:
        """Return the largest share of a limit that a cost takes; above 1 it is not within the budget.

        >>> Budget(ms=4, mib=2).used(Cost(p50_ms=5, p95_ms=6, mib=1))
        1.25
        """
        pairs = [(cost.p50_ms, self.ms), (cost.mib, self.mib)]
        return max(found / limit for found, limit in pairs if limit is not None)

    def admits(self, cost: Cost) -> bool:
        """Return whether a cost is within the budget."""
        return self.used(cost) <= 1

    def __str__(self) -> str:
        """Return both limits.

        >>> print(Budget(ms=5, mib=None))
        5 ms
        """
        limits = [(self.ms, "ms"), (self.mib, "MiB")]
        return " and ".join(f"{limit:g} {unit}" for limit, unit in limits if limit is not None)


def shown(cost: Cost) -> str:
    """Return a cost in words.

    >>> shown(Cost(p50_ms=1.234, p95_ms=2, mib=1.7))
    '1.23 ms, 1.70 MiB'
    """
    return f"{cost.p50_ms:.2f} ms, {cost.mib:.2f} MiB"


def nearest(costs: Mapping[N, Cost], budget: Budget) -> N:
    """Return the one that exceeds a budget least, or uses least of it."""
    return min(costs, key=lambda one: budget.used(costs[one]))
