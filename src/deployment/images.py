"""The choice of calibration images, and an image as network input."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from src.deployment.letterbox import letterbox
from src.foundation.errors import OutdatedError, UserError
from src.foundation.image_size import ImageSize
from src.foundation.prepared import IMAGE_SUFFIXES

TIFF_SUFFIXES = (".tif", ".tiff")


def choose_images(folder: Path, count: int, seed: int) -> list[Path]:
    """Return `count` images of `folder`, chosen by `seed` without repetition, in the order of their names.

    If there are fewer, all are returned; the report shows how many.

    Raises:
        OutdatedError: the folder holds no image.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise OutdatedError(folder, f"expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none")
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[index] for index in sorted(chosen)]


def load_image(path: Path, imgsz: ImageSize) -> NDArray[np.float32]:
    """Return an image as ultralytics' validation passes it to a network.

    Args:
        path: an image file.
        imgsz: px, size of the input.

    Returns:
        (1, 3, height, width), RGB, [0, 1].

    Raises:
        UserError: the file cannot be read as an image.
    """
    return letterbox(read_image(path), imgsz)[0]


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the pixels of an image file as training sees them: (H, W, 3), BGR, turned as its EXIF tag says.

    ultralytics' `imread` does the same, but importing it imports torch. Of 16-bit images the high byte is kept. Without
    its own way for colour TIFFs, OpenCV would scale 16 bits otherwise.

    Raises:
        UserError: the file cannot be read as an image.
    """
    try:
        content = np.fromfile(path, np.uint8)
        image = _colour_tiff(content) if path.suffix.lower() in TIFF_SUFFIXES else None
        if image is None:
            image = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # of an empty file, or one with too many pixels
        image = None
    if image is None:
        raise UserError(f"{path}: expected an image, found a file that cannot be read as one: replace or remove it")
    return (image >> 8 if image.dtype == np.uint16 else image).astype(np.uint8, copy=False)


def _colour_tiff(content: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return the first page of a TIFF without alpha; None if it has no colours or cannot be read."""
    read, pages = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED)
    return pages[0][..., :3] if read and pages[0].ndim == 3 else None
