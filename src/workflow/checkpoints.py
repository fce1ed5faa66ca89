"""Where an interrupted training finds its state again: a folder whose name tells what the training depends on."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from src.foundation.digests import digest
from src.workflow.code import code_digest
from src.workflow.stage_files import StageFiles

_logger = logging.getLogger(__name__)


@contextmanager
def checkpoints(files: StageFiles, config_yaml: str, inputs: Iterable[Path]) -> Iterator[Path]:
    """Yield a folder where trainings keep their state. It stays only if an exception ends the block.

    Its name is a digest of the settings, the stage's code and the inputs, so a run that differs in any of these never
    finds it. A process that finds it in use by another one gets a folder of its own.

    Args:
        files: of the stage.
        config_yaml: its resolved config.
        inputs: all files and folders that the training depends on. One that does not exist counts as such.
    """
    key = hashlib.md5(f"{config_yaml}\n{code_digest(f'src.{files.stage}')}\n".encode())
    for path in inputs:
        key.update(f"{digest(path) if path.exists() else 'absent'}\n".encode())
    folder = files.project / ".checkpoints" / f"{files.stage}-{key.hexdigest()}"
    folder.parent.mkdir(exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        folder = folder.with_suffix(f".{os.getpid()}")
        _logger.info("another process trains the same; this one keeps its state in %s", folder)
    try:
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)
    finally:
        lock.release()
