"""The digest of a file or folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

MANIFEST = "manifest.csv"
"""A folder that holds this file is identified by it: it lists the digest of every other file of the folder."""


def digest(path: Path) -> str:
    """Return the md5 (hex) of a file, of a folder's manifest, or of the paths and bytes of all files in a folder.

    Raises:
        FileNotFoundError: nothing is there.
    """
    if path.is_dir() and not (path / MANIFEST).exists():
        whole = hashlib.md5()
        for file in sorted(found for found in path.rglob("*") if found.is_file()):
            whole.update(f"{file.relative_to(path).as_posix()} {digest(file)}\n".encode())
        return whole.hexdigest()
    if path.is_dir():
        path = path / MANIFEST
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
