"""The latency of one forward pass, for several detectors under the same conditions.

The speed of a machine varies, so timing one detector after the other would compare minutes, not detectors. Each round
times every detector once and starts with another detector. Before its timed pass a detector runs once untimed: in
deployment it runs repeatedly and finds its weights in the CPU's caches, while here other detectors have filled them.
Only the forward pass is timed: reading images and non-maximum suppression take the same time for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

WARM_UP_ROUNDS = 10
"""Untimed rounds: the first passes allocate memory and choose kernels."""

BUSY = 2.0
"""The 95th percentile of a latency over its median: about 1.3 on an idle machine."""


@dataclass(frozen=True)
class Latency:
    """Median and 95th percentile of the time of one forward pass, ms."""

    p50_ms: float
    p95_ms: float


def measure(
    forwards: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Latency]:
    """Time each of `forwards` once per round.

    Args:
        forwards: the calls to time, by name.
        rounds: at least 1; `WARM_UP_ROUNDS` untimed rounds run before them.
        clock: returns a time in s.
    """
    names = list(forwards)
    times_ms: dict[str, list[float]] = {name: [] for name in names}
    for index in range(-WARM_UP_ROUNDS, rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            forwards[name]()
            started_s = clock()
            forwards[name]()
            elapsed_ms = (clock() - started_s) * 1000
            if index >= 0:
                times_ms[name].append(elapsed_ms)
    return {
        name: Latency(round(float(np.percentile(ms, 50)), 4), round(float(np.percentile(ms, 95)), 4))
        for name, ms in times_ms.items()
    }


def is_busy(latencies: Iterable[Latency]) -> bool:
    """Return whether most detectors have passes that took far longer than their median: others used the processor.

    >>> is_busy([Latency(1.0, 1.3)]), is_busy([Latency(1.0, 5.0)])
    (False, True)
    """
    return median(one.p95_ms / one.p50_ms for one in latencies) > BUSY


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use `threads` threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
