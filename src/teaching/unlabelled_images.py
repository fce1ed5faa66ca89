"""Find images without labels, on which the student learns from the teacher alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from src.foundation.errors import SettingError
from src.foundation.prepared import IMAGE_SUFFIXES, unlabelled_images_of
from src.labels.decoding import decode_all, read_rgb, training_suffix
from src.labels.faults import Faults
from src.labels.folders import files_below


def unlabelled_images(folder: Path, prepared: Path, *, may_be_none: bool = False) -> list[Path]:
    """Return the training images whose labels were set aside, and the images of a folder and its subfolders, sorted.

    Args:
        folder: it may contain other files, too. It may be absent if labels were set aside.
        prepared: the dataset; an image of its val or test split must not be in `folder`.
        may_be_none: whether there may be no images at all.

    Raises:
        UserError: there are no images at all (see `may_be_none`), or images that cannot be read or are in val or test.
            The message lists all of them.
    """
    faults = Faults(folder, "teaching.folder")
    found = files_below(folder, IMAGE_SUFFIXES, faults) if folder.is_dir() else []
    held_out = {_pixels(path): split for split in ("val", "test") for path in (prepared / "images" / split).iterdir()}
    for path, decoded in zip(found, decode_all(found), strict=True):
        if isinstance(decoded, str):
            faults.add(path, decoded, "replace the image, or remove it")
        elif split := held_out.get(_pixels(path)):
            faults.add(path, f"an image of {split}, which must not be used for training", "remove it")
    faults.end_if_fatal(strict=False)
    found = [*unlabelled_images_of(prepared), *found]
    if not found and not may_be_none:
        raise SettingError(
            "teaching.folder",
            f"must contain images, found none in {folder}: add some, set labels aside "
            "(prepare_labels.label_fraction), or choose teaching=offline",
        )
    return found


def _pixels(path: Path) -> str:
    """Return a digest of an image's size and RGB pixels: other metadata or a lossless copy does not change it."""
    rgb = read_rgb(path)
    return hashlib.md5(f"{rgb.shape}".encode() + rgb.tobytes()).hexdigest()


@contextmanager
def view_of_unlabelled(images: list[Path]) -> Iterator[Path]:
    """Yield a temporary folder of links to the images, with unique names.

    The folder is temporary because ultralytics writes a cache beside the images.
    """
    with TemporaryDirectory(prefix="unlabelled-") as scratch:
        root = Path(scratch).resolve()
        (root / "images").mkdir()
        (root / "labels").mkdir()
        for index, path in enumerate(images):
            image = root / "images" / name_in_view(index, path)
            image.symlink_to(path.resolve())
            (root / f"labels/{image.stem}.txt").touch()  # ultralytics refuses to augment images without label files
        yield root / "images"


def name_in_view(index: int, path: Path) -> str:
    """Return the name that an image with this position has in the view."""
    return f"{index:06d}{training_suffix(path)}"
