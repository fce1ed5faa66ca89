"""Who writes, and whether he still lives: the processes of this machine."""

from __future__ import annotations

import os
import platform

HOST = platform.node() or "localhost"
"""The name of this machine."""


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine has this number now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
