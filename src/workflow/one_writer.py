"""Under DVC one stage at a time writes the pipeline's outputs, and only as long as its `dvc` lives.

A stage outlives a `dvc` that is killed. The next `dvc` would start another one, and the first would write into a folder
that belongs to the second.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from src.foundation.errors import UserError

WAIT_S = 60
"""How long to wait for another stage: one whose `dvc` was killed ends within seconds."""

GRACE_S = 60
"""The time that a stage whose `dvc` ended has to close its MLflow run."""

_logger = logging.getLogger(__name__)


@contextmanager
def only_writer(project: Path, stage: str) -> Iterator[None]:
    """Hold the project's lock during the block, and end this process if the `dvc` that started it ends.

    Raises:
        UserError: another stage still writes after `WAIT_S`, or the `dvc` ended while this process began.
    """
    dvc = _dvc()
    if dvc is not None and _has_adopted(dvc):
        raise UserError("the `dvc` that started this stage has ended: nothing was done")
    if dvc is not None:
        threading.Thread(target=_end_with, args=(dvc,), daemon=True).start()
    path = project / ".cache" / "writer.lock"
    path.parent.mkdir(exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _logger.info("waiting for %s, which writes the pipeline's outputs", _holder(path))
        try:
            lock.acquire(timeout=WAIT_S)
        except Timeout:
            raise UserError(
                f"{_holder(path)} still writes the pipeline's outputs: wait until it has ended, or end it"
            ) from None
    try:
        path.write_text(f"{stage} (process {os.getpid()})", encoding="utf-8")  # the lock is on the file, not in it
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8") or "another stage"


def _dvc() -> psutil.Process | None:
    """Return the process that runs this stage: the first ancestor to which DVC has not given the stage's name.

    Between them is a shell, which goes on waiting for the stage when `dvc` is killed.
    """
    for ancestor in psutil.Process().parents():
        with suppress(psutil.Error):
            if "DVC_STAGE" in ancestor.environ():
                continue
        return ancestor
    return None


def _has_adopted(ancestor: psutil.Process) -> bool:
    """Return whether an ancestor is the first process of the machine, and took this one from a `dvc` that had ended.

    `dvc` can be the first process of a container, but then this one is in its session.
    """
    return ancestor.pid == 1 and os.getsid(0) != os.getsid(1)


def _end_with(dvc: psutil.Process) -> None:
    """End this process when `dvc` has ended: as a request to end does, and by force if that takes too long."""
    dvc.wait()
    print("the `dvc` that started this stage has ended: the stage ends and publishes nothing", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
