"""Files and folders that are written whole or not at all, and whose content is on the disk before their name is.

A partial file is called `.<name>.<host>-<pid>.partial<suffix>`: .gitignore and .dvcignore know this form, and
`remove_abandoned` removes what a process that died has left.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from src.foundation.processes import HOST, is_alive

_PARTIAL = re.compile(r"\..+\.(?P<host>[^/]+)-(?P<pid>\d+)\.partial(\.[^.]*)?")

FORGOTTEN_AFTER_S = 86_400
"""A partial file of another machine is abandoned after a day: whether its process lives is not known here."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes `path` only if the block ends without an exception.

    An `OSError` that names no file, as of a full disk, gets the name of this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: libraries choose a format by it.
    partial = path.with_name(f".{path.stem}.{HOST}-{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
        _to_disk(path.parent)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it replaces `path` only if the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (path.with_name(f".{path.name}.{HOST}-{os.getpid()}.partial{kind}") for kind in ("", ".old"))
    _remove(partial)
    partial.mkdir()
    try:
        yield partial
        for found in sorted(partial.rglob("*"), reverse=True):  # what is in a folder before the folder
            _to_disk(found)
        _to_disk(partial)
        with suppress(FileNotFoundError):
            os.replace(path, old)
        os.replace(partial, path)
        _to_disk(path.parent)
    finally:
        if not path.exists() and old.exists():  # the end came between the two renamings
            os.replace(old, path)
        _remove(partial)
        _remove(old)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, keys in the order given. Not-a-number is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def remove_abandoned(folder: Path) -> None:
    """Remove the half-written files and folders directly in `folder` whose process died."""
    for path in folder.glob(".*.partial*"):
        if (named := _PARTIAL.fullmatch(path.name)) and _is_abandoned(path, named["host"], int(named["pid"])):
            _remove(path)


def _is_abandoned(path: Path, host: str, pid: int) -> bool:
    written_s = path.lstat().st_mtime
    if host == HOST:
        return not is_alive(pid, written_s)
    return time.time() - written_s > FORGOTTEN_AFTER_S


def _to_disk(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems cannot do it for folders
            raise
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, link or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
