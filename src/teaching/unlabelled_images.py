"""Images without labels, for a student whose teacher sees them, too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from src.foundation.errors import UserError
from src.labels.assembly import measure_all
from src.labels.faults import Faults
from src.labels.folders import IMAGE_SUFFIXES, files_below


def unlabelled_images(folder: Path, prepared: Path) -> list[Path]:
    """Return the images of a folder and those below it, sorted.

    Args:
        folder: that may hold other files besides.
        prepared: the dataset of which no image of val or test may be among them.

    Raises:
        UserError: there are none, some cannot be read, or some are of val or test: a list of all.
    """
    faults = Faults(folder)
    found = files_below(folder, IMAGE_SUFFIXES, faults) if folder.is_dir() else []
    held_out = {_pixels(path): split for split in ("val", "test") for path in (prepared / "images" / split).iterdir()}
    for path, measured in zip(found, measure_all(found), strict=True):
        if isinstance(measured, str):
            faults.add(path, measured, "replace the image, or remove it")
        elif split := held_out.get(_pixels(path)):
            faults.add(path, f"an image of {split}, which nothing may be trained on", "remove it")
    faults.end_if_fatal(strict=False)
    if not found:
        raise UserError(
            f"{folder}: expected images without labels, found none: put them there or choose teaching=offline"
        )
    return found


def _pixels(path: Path) -> str:
    """Return a digest of what an image shows: the same picture in another file is the same picture."""
    with Image.open(path) as image:
        shown = image.convert("RGB")
    return hashlib.md5(f"{shown.size}".encode() + shown.tobytes()).hexdigest()


@contextmanager
def view_of_unlabelled(images: list[Path]) -> Iterator[Path]:
    """Yield a temporary folder of links to the images, whose names do not clash: ultralytics writes a cache beside."""
    with TemporaryDirectory(prefix="unlabelled-") as scratch:
        root = Path(scratch).resolve()
        (root / "images").mkdir()
        (root / "labels").mkdir()
        for index, path in enumerate(images):
            (root / f"images/{index:06d}{path.suffix.lower()}").symlink_to(path.resolve())
            (root / f"labels/{index:06d}.txt").touch()  # ultralytics refuses to augment images without label files
        yield root / "images"
