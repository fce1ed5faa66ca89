"""Sets a part of the test images aside, so that no choice can be made on them."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

from src.foundation.atomic import whole_file, whole_folder
from src.foundation.digests import MANIFEST, MANIFEST_COLUMNS
from src.foundation.prepared import SPLITS, images_of


def seal(prepared: Path, sealed: Path, share: float, seed: int) -> None:
    """Move a share of the test images with their labels to a dataset of their own, whose train and val are empty.

    The choice depends on the names alone: another order, or a larger share, moves the same images first.

    Args:
        prepared: the folder that prepare-labels wrote.
        sealed: to be written.
        share: of the test images, in [0, 1); at least one stays.
        seed: of the choice.
    """
    images = sorted(images_of(prepared, "test"), key=lambda image: _rank(image.name, seed))
    chosen = {f"images/test/{image.name}" for image in images[: min(round(share * len(images)), len(images) - 1)]}
    header, *rows = _rows(prepared)
    with whole_folder(sealed) as folder:
        for split in SPLITS:
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
        shutil.copy(prepared / "data.yaml", folder / "data.yaml")
        for image in sorted(chosen):
            label = Path(image.replace("images/", "labels/", 1)).with_suffix(".txt")
            for name in (Path(image), label):
                (prepared / name).rename(folder / name)
        kept, moved = ([row for row in rows if _belongs(row, chosen, sealed=part)] for part in (False, True))
        _write_manifest(folder, [header, *moved])
        _write_manifest(prepared, [header, *kept])


def split_digest(prepared: Path, split: str) -> str:
    """Return a digest of the images and labels of a split, by the manifest."""
    rows = [row for row in _rows(prepared) if row[0] == split]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def _rank(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def _rows(prepared: Path) -> list[list[str]]:
    with (prepared / MANIFEST).open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def _belongs(row: list[str], chosen: set[str], *, sealed: bool) -> bool:
    """Return whether a row of the manifest stays in one of the two parts; data.yaml is in both."""
    image = row[MANIFEST_COLUMNS.index("image")]
    return image == "data.yaml" or (image in chosen) == sealed


def _write_manifest(folder: Path, rows: list[list[str]]) -> None:
    with whole_file(folder / MANIFEST) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
