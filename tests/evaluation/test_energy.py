"""Energy by fake counters, which only the passes of fake detectors move."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from src.evaluation.energy import BLOCK_S, BLOCKS, NoCounterError, measure_energy, package_counters

RANGE_UJ = 1_000_000


def zone(powercap: Path, name: str, kind: str, energy_uj: int = 0) -> Path:
    folder = powercap / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return folder


class Machine:
    """A machine whose clock and counters only passes move."""

    def __init__(self, *zones: Path) -> None:
        self.zones = zones
        self.now_s = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now_s

    def runs(self, name: str, uj: int, takes_s: float) -> Callable[[], None]:
        def call() -> None:
            self.calls.append(name)
            self.now_s += takes_s
            for folder in self.zones:
                counter = folder / "energy_uj"
                counter.write_text(str((int(counter.read_text()) + uj) % RANGE_UJ))

        return call


def test_the_energy_of_a_pass_is_that_of_all_packages(tmp_path: Path) -> None:
    machine = Machine(zone(tmp_path, "intel-rapl:0", "package-0", 17), zone(tmp_path, "intel-rapl:1", "package-1"))
    forwards = {"large": machine.runs("large", 3000, BLOCK_S / 5), "small": machine.runs("small", 250, BLOCK_S / 10)}
    assert measure_energy(forwards, tmp_path, machine.clock) == {"large": 6.0, "small": 0.5}


def test_a_counter_that_begins_again_has_used_the_rest_of_its_range(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 500)
    [counter] = package_counters(tmp_path)
    before_uj = counter.read_uj()
    assert counter.used_uj(before_uj) == 0
    (folder / "energy_uj").write_text("400")
    assert counter.used_uj(before_uj) == 900


def test_detectors_take_turns_in_blocks_of_many_passes_after_one_that_is_not_counted(tmp_path: Path) -> None:
    machine = Machine(zone(tmp_path, "intel-rapl:0", "package-0"))
    measure_energy({name: machine.runs(name, 10, BLOCK_S / 4) for name in "ab"}, tmp_path, machine.clock)
    assert "".join(machine.calls) == "aaaaabbbbb" + "bbbbbaaaaa" + "aaaaabbbbb"
    assert BLOCKS == 3


def test_a_pass_that_is_longer_than_a_block_is_counted_once(tmp_path: Path) -> None:
    machine = Machine(zone(tmp_path, "intel-rapl:0", "package-0"))
    assert measure_energy({"a": machine.runs("a", 70, 2 * BLOCK_S)}, tmp_path, machine.clock) == {"a": 0.07}
    assert len(machine.calls) == 2 * BLOCKS


def test_a_process_that_was_stopped_at_the_begin_of_a_block_still_counts_a_pass(tmp_path: Path) -> None:
    machine = Machine(zone(tmp_path, "intel-rapl:0", "package-0"))
    jumps = count(step=2 * BLOCK_S)
    assert measure_energy({"a": machine.runs("a", 70, 0)}, tmp_path, lambda: next(jumps)) == {"a": 0.07}


def test_parts_of_a_package_and_the_platform_are_not_counted(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:1", "psys")
    zone(tmp_path, "intel-rapl:0:0", "core")
    zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    package = zone(tmp_path, "intel-rapl:0", "package-0")
    (tmp_path / "intel-rapl").mkdir()
    assert [counter.path for counter in package_counters(tmp_path)] == [package / "energy_uj"]


def test_without_counters_the_reason_is_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NoCounterError, match=r" has no counter of a package, as in most virtual machines$"):
            package_counters(folder)


@pytest.mark.parametrize("file", ["name", "energy_uj", "max_energy_range_uj"])
def test_a_counter_that_cannot_be_read_is_named(tmp_path: Path, file: str) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    machine = Machine()
    (folder / file).unlink()
    with pytest.raises(NoCounterError, match=rf"intel-rapl:0/{file} cannot be read \(No such file or directory\)$"):
        measure_energy({"a": machine.runs("a", 1, 1)}, tmp_path, machine.clock)


def test_a_counter_of_root_alone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0")
    machine = Machine()
    counter = folder / "energy_uj"
    counter.chmod(0)
    if os.geteuid() == 0:  # root reads it all the same
        read = Path.read_text

        def refused(path: Path, *arguments: str, **named: str) -> str:
            if path == counter:
                raise PermissionError(13, "Permission denied", str(path))
            return read(path, *arguments, **named)

        monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(NoCounterError, match=r"intel-rapl:0/energy_uj may be read by root alone$"):
        measure_energy({"a": machine.runs("a", 1, 1)}, tmp_path, machine.clock)


@pytest.mark.parametrize("content", ["", "-1", "many"])
def test_a_counter_without_a_number_is_named(tmp_path: Path, content: str) -> None:
    (zone(tmp_path, "intel-rapl:0", "package-0") / "energy_uj").write_text(content)
    machine = Machine()
    with pytest.raises(NoCounterError, match=r"intel-rapl:0/energy_uj holds no number$"):
        measure_energy({"a": machine.runs("a", 1, 1)}, tmp_path, machine.clock)


def test_counters_that_stand_still_measure_nothing(tmp_path: Path) -> None:
    machine = Machine(zone(tmp_path, "intel-rapl:0", "package-0"))
    with pytest.raises(NoCounterError, match=r"stand still$"):
        measure_energy({"a": machine.runs("a", 0, 1)}, tmp_path, machine.clock)
