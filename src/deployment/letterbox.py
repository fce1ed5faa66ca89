"""An image as the input of a network, and boxes back to the image.

The image is scaled until it fills the input in one direction (bilinear, the other side rounded up). The rest is filled
with grey, half on either side. ultralytics' validation does the same for squares in `BaseDataset.load_image` and
`LetterBox(scaleup=False)`, and `src/detector/fitted_dataset.py` for all sizes, so calibration, prediction and the
measured accuracy see the same pixels. ultralytics' predictor rounds the shorter side to the nearest number instead:
some images have a row less there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from src.foundation.image_size import ImageSize, fitted_hw, height_width

PADDING = 114
"""Grey level with which ultralytics fills the part of the input that an image does not cover."""


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the input.

    Attributes:
        image_wh: px, size of the image.
        placed_wh: px, size that it has in the input.
        left_top: px, its upper left corner in the input.
    """

    image_wh: tuple[int, int]
    placed_wh: tuple[int, int]
    left_top: tuple[int, int]

    def to_image(self, boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return boxes (N, 4), px of the input, in px of the image, cut at its edges.

        >>> Placement((200, 100), (100, 50), (0, 25)).to_image(np.array([[10.0, 30.0, 120.0, 75.0]])).tolist()
        [[20.0, 10.0, 200.0, 100.0]]
        """
        gain = np.divide(self.placed_wh, self.image_wh)
        inside = (boxes_xyxy - np.tile(self.left_top, 2)) / np.tile(gain, 2)
        cut: NDArray[np.float64] = inside.clip(0, np.tile(self.image_wh, 2))
        return cut


def letterbox(image: NDArray[np.uint8], imgsz: ImageSize) -> tuple[NDArray[np.float32], Placement]:
    """Return an image as the input of a network, and where it lies there.

    Args:
        image: (H, W, 3), BGR.
        imgsz: px, size of the input.

    Returns:
        (1, 3, height, width), RGB, [0, 1].
    """
    image_height, image_width = image.shape[:2]
    height, width = height_width(imgsz)
    placed_wh = fitted_hw((image_height, image_width), imgsz)[::-1]
    if placed_wh != (image_width, image_height):
        image = cv2.resize(image, placed_wh, interpolation=cv2.INTER_LINEAR)
    filled = np.full((height, width, 3), PADDING, dtype=np.uint8)
    # If the rest is odd, the extra pixel goes below or to the right.
    left, top = (width - placed_wh[0]) // 2, (height - placed_wh[1]) // 2
    filled[top : top + placed_wh[1], left : left + placed_wh[0]] = image
    rgb = filled[..., ::-1].transpose(2, 0, 1)[None]
    pixels = np.ascontiguousarray(rgb, dtype=np.float32) / np.float32(255)
    return pixels, Placement((image_width, image_height), placed_wh, (left, top))
