"""The energy of one forward pass, by the counters of the processor's packages (RAPL, on Intel and on AMD since Zen).

Counted is all that the packages use while a detector runs: every core, the caches, the idle power, and the work of
other processes. Not counted are memory modules, GPUs, disks and the power supply. So the numbers compare detectors on
an idle machine, and are no bill.

A counter is updated about once per ms, so each reading covers a block of many passes. As in `latency`, the detectors
take turns, and one untimed pass comes first.

Linux shows the counters as files (https://docs.kernel.org/power/powercap/powercap.html), which are read here. Libraries
read the same files: pyRAPL is no longer kept; codecarbon is a tracker of emissions that installs eight more packages;
zeus starts a process beside the measurement, which imports the main module, and torch, once more. No GPU is read: all
detectors are timed on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

POWERCAP = Path("/sys/class/powercap")

BLOCK_S = 0.5
"""Of a block: some hundred updates of the counter."""

BLOCKS = 3
"""Per detector."""


class NoCounterError(Exception):
    """The energy cannot be measured; the message says why."""


@dataclass(frozen=True)
class PackageCounter:
    """The counter of a package of the processor.

    Attributes:
        path: the file with the energy so far, microjoules.
        range_uj: the energy at which it begins at 0 again: after minutes, so at most once in a block.
    """

    path: Path
    range_uj: int

    def read_uj(self) -> int:
        """Return the energy so far, microjoules.

        Raises:
            NoCounterError: the file cannot be read.
        """
        return _number(self.path)

    def used_uj(self, before_uj: int) -> int:
        """Return the energy since an earlier reading, microjoules."""
        used = self.read_uj() - before_uj
        return used if used >= 0 else used + self.range_uj


def package_counters(powercap: Path = POWERCAP) -> list[PackageCounter]:
    """Return the counters of all packages of the processor.

    Other zones are left out: `core` and `uncore` are parts of a package, `psys` contains it, and `intel-rapl-mmio` is
    another way to the same counters.

    Raises:
        NoCounterError: there is none, or one cannot be read.
    """
    packages = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _text(zone / "name").startswith("package")]
    if not packages:
        raise NoCounterError(f"{powercap} has no counter of a package, as in most virtual machines")
    return [PackageCounter(zone / "energy_uj", _number(zone / "max_energy_range_uj")) for zone in packages]


def measure_energy(
    forwards: Mapping[str, Callable[[], object]],
    powercap: Path = POWERCAP,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the energy of one pass of each of `forwards`, mJ: the median of `BLOCKS` blocks.

    Args:
        forwards: the calls to measure, by name.
        powercap: the folder with the counters.
        clock: returns a time in s.

    Raises:
        NoCounterError: there is no counter, one cannot be read, or all stand still.
    """
    counters = package_counters(powercap)
    names = list(forwards)
    mj: dict[str, list[float]] = {name: [] for name in names}
    for first in range(BLOCKS):
        for name in names[first % len(names) :] + names[: first % len(names)]:
            mj[name].append(_block_mj(forwards[name], counters, clock))
    found = {name: round(median(of), 4) for name, of in mj.items()}
    if not all(found.values()):
        raise NoCounterError(f"the counters in {powercap} stand still")
    return found


def _block_mj(forward: Callable[[], object], counters: list[PackageCounter], clock: Callable[[], float]) -> float:
    """Return the mean energy of a pass in one block, mJ."""
    forward()
    before = [counter.read_uj() for counter in counters]
    started_s, passes = clock(), 0
    while passes == 0 or clock() - started_s < BLOCK_S:
        forward()
        passes += 1
    used_uj = sum(counter.used_uj(uj) for counter, uj in zip(counters, before, strict=True))
    return used_uj / passes / 1000


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise NoCounterError(f"{path} may be read by root alone") from error
    except OSError as error:
        raise NoCounterError(f"{path} cannot be read ({error.strerror})") from error


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isdecimal():
        raise NoCounterError(f"{path} holds no number")
    return int(text)
