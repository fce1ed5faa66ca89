"""The digest of a file or folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from src.foundation.pipeline import PREPARED

MANIFEST = "manifest.csv"
"""In the prepared dataset this file identifies the folder: it lists the digest of every other file."""

MANIFEST_COLUMNS = ("split", "image", "image_md5", "label_md5", "boxes")


def digest(path: Path) -> str:
    """Return the md5 (hex) of a file, of the prepared dataset's manifest, or of all paths and bytes in a folder.

    Raises:
        FileNotFoundError: nothing is there.
    """
    if _is_prepared(path):
        path = path / MANIFEST
    if path.is_dir():
        whole = hashlib.md5()
        for file in sorted(found for found in path.rglob("*") if found.is_file()):
            whole.update(f"{file.relative_to(path).as_posix()} {digest(file)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _is_prepared(path: Path) -> bool:
    """Return whether prepare-labels wrote this folder. A manifest.csv in a user's folder may list anything."""
    if not path.absolute().as_posix().endswith(f"/{PREPARED}") or not (path / MANIFEST).is_file():
        return False
    with (path / MANIFEST).open("rb") as stream:
        return stream.readline().rstrip() == ",".join(MANIFEST_COLUMNS).encode()
