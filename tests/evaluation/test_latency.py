from collections.abc import Callable

import pytest
import torch

from src.evaluation.latency import WARM_UP_ROUNDS, measure, torch_threads


class Machine:
    """A fake machine: only the timed calls advance its clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def takes(self, name: str, *times_s: float) -> Callable[[], None]:
        """Return a call that takes these times in turn."""

        def call() -> None:
            self.now_s += times_s[self.calls.count(name) % len(times_s)]
            self.calls.append(name)

        return call


def test_every_round_runs_each_call_twice_and_starts_with_another() -> None:
    machine = Machine()
    measure({name: machine.takes(name, 0.001) for name in "abc"}, 6, clock=machine.clock)
    rounds = ["".join(machine.calls[start : start + 6]) for start in range(0, len(machine.calls), 6)]
    assert len(rounds) == WARM_UP_ROUNDS + 6
    assert rounds[WARM_UP_ROUNDS:] == ["aabbcc", "bbccaa", "ccaabb", "aabbcc", "bbccaa", "ccaabb"]


def test_the_first_of_two_passes_is_not_timed() -> None:
    machine = Machine()
    calls = {"cold then warm": machine.takes("cold then warm", 0.5, 0.1), "flat": machine.takes("flat", 0.2)}
    found = measure(calls, 5, clock=machine.clock)
    assert {name: latency.p95_ms for name, latency in found.items()} == {"cold then warm": 100, "flat": 200}


def test_median_and_95th_percentile_in_ms_without_the_warm_up() -> None:
    machine = Machine()
    slow_start = [9.0] * 2 * WARM_UP_ROUNDS + [0.001 * k for k in range(1, 22) for _ in range(2)]
    found = measure(
        {"ramp": machine.takes("ramp", *slow_start), "flat": machine.takes("flat", 0.25)}, 21, clock=machine.clock
    )
    assert (found["ramp"].p50_ms, found["ramp"].p95_ms) == (pytest.approx(11), pytest.approx(20))
    assert (found["flat"].p50_ms, found["flat"].p95_ms) == (pytest.approx(250), pytest.approx(250))


def test_the_number_of_torch_threads_is_restored() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
