"""The choice of calibration images, and an image as network input."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from ultralytics.utils.patches import imread

from src.foundation.errors import OutdatedError, UserError
from src.foundation.prepared import IMAGE_SUFFIXES

PADDING = 114
"""Grey level with which ultralytics fills the part of the square that an image does not cover."""


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


def load_image(path: Path, imgsz: int) -> NDArray[np.float32]:
    """Return an image as ultralytics' validation passes it to a network with square input.

    The longer side becomes `imgsz` (bilinear, the shorter one rounded up). The rest is filled with grey, half on either
    side. ultralytics does the same in `BaseDataset.load_image` and `LetterBox(scaleup=False)`.

    Args:
        path: an image file.
        imgsz: px, side of the square.

    Returns:
        (1, 3, imgsz, imgsz), RGB, [0, 1].

    Raises:
        UserError: the file cannot be read as an image.
    """
    image = imread(path)
    if image is None:
        raise UserError(f"{path}: expected an image, found a file that cannot be read as one: replace or remove it")
    height, width = image.shape[:2]
    ratio = imgsz / max(height, width)
    if ratio != 1:
        size_wh = (min(math.ceil(width * ratio), imgsz), min(math.ceil(height * ratio), imgsz))
        image = cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR)
    height, width = image.shape[:2]
    square = np.full((imgsz, imgsz, 3), PADDING, dtype=np.uint8)
    # If the rest is odd, the extra pixel goes below or to the right.
    top, left = (imgsz - height) // 2, (imgsz - width) // 2
    square[top : top + height, left : left + width] = image
    rgb = square[..., ::-1].transpose(2, 0, 1)[None]
    return np.ascontiguousarray(rgb, dtype=np.float32) / np.float32(255)
