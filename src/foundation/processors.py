"""The processors that this process may use."""

from __future__ import annotations

from src import LAUNCHERS_SHARE

AUTO = "auto"


def usable_processors() -> int:
    """Return their number. The process's affinity and its cgroup's quota (containers, batch queues) limit it."""
    from joblib import cpu_count  # here: it takes 0.1 s to import, and not every command asks

    return int(cpu_count())


def processors_for(threads: int | str) -> int:
    """Return the number of threads for a setting: itself, or for "auto" this process's share of the usable processors.

    Launchers that run jobs side by side, such as joblib, set OMP_NUM_THREADS to the share of each job.
    """
    if threads != AUTO:
        return int(threads)
    share, usable = LAUNCHERS_SHARE, usable_processors()
    return min(int(share), usable) if share.isdigit() and int(share) else usable
