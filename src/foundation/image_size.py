"""The size of a network's input, and the size that an image has in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

ImageSize = int | Sequence[int]
"""px: the side of a square, or (height, width)."""


def height_width(imgsz: ImageSize) -> tuple[int, int]:
    """Return height and width, px.

    >>> height_width(160), height_width([96, 160])
    ((160, 160), (96, 160))
    """
    if isinstance(imgsz, int):
        return imgsz, imgsz
    height, width = imgsz
    return height, width


def as_setting(imgsz: ImageSize) -> int | list[int]:
    """Return the size as params.yaml and files hold it: a square as its side.

    >>> as_setting([160, 160]), as_setting((96, 160))
    (160, [96, 160])
    """
    height, width = height_width(imgsz)
    return height if height == width else [height, width]


def size_in_words(imgsz: ImageSize) -> str:
    """Return the size without its unit, the height first.

    >>> size_in_words(160), size_in_words([96, 160])
    ('160', '96 x 160')
    """
    height, width = height_width(imgsz)
    return str(height) if height == width else f"{height} x {width}"


def fitted_hw(image_hw: tuple[int, int], imgsz: ImageSize) -> tuple[int, int]:
    """Return the height and width, px, of an image that is scaled until it fills the input in one direction.

    A fraction of a pixel counts as one, as in ultralytics' `BaseDataset.load_image`.

    >>> fitted_hw((100, 300), 160), fitted_hw((100, 300), (96, 160)), fitted_hw((100, 100), (96, 160))
    ((54, 160), (54, 160), (96, 96))
    """
    height, width = height_width(imgsz)
    ratio = min(height / image_hw[0], width / image_hw[1])
    return min(math.ceil(image_hw[0] * ratio), height), min(math.ceil(image_hw[1] * ratio), width)
