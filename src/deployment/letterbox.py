"""An image as the square input of a network, and boxes back to the image.

The longer side becomes the square's (bilinear, the shorter one rounded up). The rest is filled with grey, half on
either side. ultralytics' validation does the same in `BaseDataset.load_image` and `LetterBox(scaleup=False)`, so
calibration, prediction and the measured accuracy see the same pixels. ultralytics' predictor rounds the shorter side to
the nearest number instead: some images have a row less there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PADDING = 114
"""Grey level with which ultralytics fills the part of the square that an image does not cover."""


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the square.

    Attributes:
        image_wh: px, size of the image.
        placed_wh: px, size that it has in the square.
        left_top: px, its upper left corner in the square.
    """

    image_wh: tuple[int, int]
    placed_wh: tuple[int, int]
    left_top: tuple[int, int]

    def to_image(self, boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return boxes (N, 4), px of the square, in px of the image, cut at its edges.

        >>> Placement((200, 100), (100, 50), (0, 25)).to_image(np.array([[10.0, 30.0, 120.0, 75.0]])).tolist()
        [[20.0, 10.0, 200.0, 100.0]]
        """
        gain = np.divide(self.placed_wh, self.image_wh)
        inside = (boxes_xyxy - np.tile(self.left_top, 2)) / np.tile(gain, 2)
        cut: NDArray[np.float64] = inside.clip(0, np.tile(self.image_wh, 2))
        return cut


def letterbox(image: NDArray[np.uint8], imgsz: int) -> tuple[NDArray[np.float32], Placement]:
    """Return an image as the input of a network, and where it lies there.

    Args:
        image: (H, W, 3), BGR.
        imgsz: px, side of the square.

    Returns:
        (1, 3, imgsz, imgsz), RGB, [0, 1].
    """
    height, width = image.shape[:2]
    ratio = imgsz / max(height, width)
    placed_wh = (min(math.ceil(width * ratio), imgsz), min(math.ceil(height * ratio), imgsz))
    if ratio != 1:
        image = cv2.resize(image, placed_wh, interpolation=cv2.INTER_LINEAR)
    square = np.full((imgsz, imgsz, 3), PADDING, dtype=np.uint8)
    # If the rest is odd, the extra pixel goes below or to the right.
    left, top = (imgsz - placed_wh[0]) // 2, (imgsz - placed_wh[1]) // 2
    square[top : top + placed_wh[1], left : left + placed_wh[0]] = image
    rgb = square[..., ::-1].transpose(2, 0, 1)[None]
    pixels = np.ascontiguousarray(rgb, dtype=np.float32) / np.float32(255)
    return pixels, Placement((width, height), placed_wh, (left, top))
