"""How many times as fast as its teacher a network is: a ratio per process, in the runtime in which it is the faster."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, log10
from typing import Any

from benchmarks.evidence.latency import TEACHER_NETWORK, network_name
from benchmarks.evidence.rows import Result


@dataclass(frozen=True)
class Speed:
    """The speed of a network.

    Attributes:
        runtime: in which it is timed, as its teacher is.
        ms: the median of each process.
        ratios: the teacher's time over its own, in each process.
    """

    runtime: str
    ms: tuple[float, ...]
    ratios: tuple[float, ...]

    def __str__(self) -> str:
        """Return the median of the processes, with the least and the most, with the digits that the range allows.

        >>> str(Speed("openvino", (2.0, 2.1, 2.2), (10.21, 10.14, 9.92)))
        '2.1 ms [2.0, 2.2], 10.1 times [9.9, 10.2] in openvino'
        >>> str(Speed("openvino", (2.0, 2.1, 2.9), (14.21, 10.14, 9.92)))
        '2.1 ms [2.0, 2.9], 10 times [10, 14] in openvino'
        """
        times, ratios = shown_range(self.ms), shown_range(self.ratios)
        return "{} ms [{}, {}], {} times [{}, {}] in {}".format(*times, *ratios, self.runtime)


def shown_range(values: tuple[float, ...]) -> tuple[str, str, str]:
    """Return median, least and most, with so many decimals that the range is a few units of the last, at most 2."""
    low, high = min(values), max(values)
    decimals = 2 if high == low else min(2, max(0, -floor(log10(high - low))))
    middle, least, most = (f"{value:.{decimals}f}" for value in (statistics.median(values), low, high))
    return middle, least, most


def speed_of(chain: str, results: Mapping[int, Result], timed: Mapping[str, Any] | None) -> Speed | None:
    """Return the speed of a chain's INT8 network; None if it was not timed, or another network of this name was.

    Args:
        chain: its name.
        results: of the chain, by seed.
        timed: the result of the dataset's latency run; None: there is none.
    """
    name = network_name(chain, "int8")
    if timed is None or name not in timed["p50_ms"]:
        return None
    if timed["networks"][name] not in {result.digests["int8"] for result in results.values()}:
        return None
    teacher, own = timed["p50_ms"][TEACHER_NETWORK], timed["p50_ms"][name]
    found = [
        Speed(runtime, tuple(ms), tuple(slow / fast for slow, fast in zip(teacher[runtime], ms, strict=True)))
        for runtime, ms in own.items()
        if runtime in teacher
    ]
    return max(found, key=lambda speed: statistics.median(speed.ratios), default=None)
