"""Where an interrupted training finds its state again: a folder whose name tells what the training depends on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from src.foundation.atomic import write_json
from src.foundation.digests import digest
from src.workflow.code import code_digest
from src.workflow.stage_files import StageFiles
from src.workflow.trial import TrialPruned

MADE_WITH = "made_with.json"

_logger = logging.getLogger(__name__)


@contextmanager
def checkpoints(
    files: StageFiles, config_yaml: str, inputs: Iterable[Path], made_with: Mapping[str, str]
) -> Iterator[Path]:
    """Yield a folder where trainings keep their state. It stays only if an exception ends the block.

    `TrialPruned` deletes it as well: nobody continues a training that a search stopped.

    Its name is a digest of the settings, the stage's code and the inputs, so a run that differs in any of these never
    finds it. If it was made with something else, it is emptied. Processes that train the same at once have a folder
    each.

    Args:
        files: of the stage.
        config_yaml: its resolved config.
        inputs: all files and folders that the training depends on. One that does not exist counts as such.
        made_with: what else the state depends on, such as the versions of packages, by name.
    """
    key = hashlib.md5(f"{config_yaml}\n{code_digest(f'src.{files.stage}')}\n".encode())
    for path in inputs:
        key.update(f"{digest(path) if path.exists() else 'absent'}\n".encode())
    with _locked(files.project / ".checkpoints", f"{files.stage}-{key.hexdigest()}") as folder:
        _keep_if_made_with(made_with, folder)
        try:
            yield folder
        except TrialPruned:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def _keep_if_made_with(made_with: Mapping[str, str], folder: Path) -> None:
    """Make a folder with a record of what its content is made with. Remove content that was made with something else.

    Only the record tells: a state may load without an error and yet go on as another training.
    """
    record = folder / MADE_WITH
    if folder.is_dir() and any(folder.iterdir()):
        found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        if found == made_with:
            return
        other = (
            f"{name} {found.get(name)}, now {value}" for name, value in made_with.items() if found.get(name) != value
        )
        _logger.warning("the training starts anew: the state in %s is of %s", folder, "; ".join(other))
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    write_json(record, dict(made_with))


@contextmanager
def _locked(root: Path, name: str) -> Iterator[Path]:
    """Yield a folder that no process uses. Only the process that holds its lock releases it."""
    root.mkdir(exist_ok=True)
    for folder in _candidates(root, name):
        lock = FileLock(f"{folder}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        if folder.name != name:
            _logger.info("another process trains the same; this one keeps its state in %s", folder)
        try:
            yield folder
        finally:
            lock.release()
        return


def _candidates(root: Path, name: str) -> Iterator[Path]:
    """Yield the folders that hold a state, then `name`, `name.1` and so on.

    They are counted, not called after a process: the state of one that was killed is found by the next.
    """
    yield from sorted(path for path in root.glob(f"{name}*") if path.is_dir())
    yield root / name
    yield from (root / f"{name}.{number}" for number in count(1))
