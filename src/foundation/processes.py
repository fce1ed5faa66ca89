"""The processes of this machine: the name of a writer, and whether it is still alive."""

from __future__ import annotations

import platform

import psutil

HOST = platform.node() or "localhost"
"""The name of this machine."""

CLOCK_S = 2.0
"""The clock may be set back a little between two readings."""


def is_alive(pid: int, seen_s: float) -> bool:
    """Return whether the process of this machine that had a number at a time still lives.

    Numbers are given again: in a container that is started anew, the same stage often has the same one.

    Args:
        pid: the number.
        seen_s: when the process ran, seconds since 1970.
    """
    try:
        process = psutil.Process(pid)
        # A zombie has ended, and only waits for its parent to notice.
        return process.create_time() <= seen_s + CLOCK_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it is another user's
        return True
