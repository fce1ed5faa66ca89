"""Pictures of the detections of two models in the same image, side by side."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from src.deployment.detections import Detections
from src.deployment.images import read_image
from src.reporting.boxes import SIDE_PX, Pixels, draw_boxes, line_size, resized, write

_CAPTION_PX, _MARGIN_PX = 28, 2
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Half:
    """One side of a picture: the detections of one model, and the indices of those without a match in the other."""

    caption: str
    detections: Detections
    alone: Set[int]


def side_by_side(image: Path, halves: Sequence[Half], class_names: Sequence[str], target: Path) -> None:
    """Write `image` once per half, side by side, with a longer side of `SIDE_PX`."""
    pixels = read_image(image)
    cv2.imwrite(str(target), joined(pixels, SIDE_PX / max(pixels.shape[:2]), halves, class_names))


def joined(pixels: Pixels, scale: float, halves: Sequence[Half], class_names: Sequence[str]) -> Pixels:
    """Return an image once per half, side by side, `scale` times as large.

    The label of a detection without a match is below its box.
    """
    return np.concatenate([_draw(pixels, scale, half, class_names) for half in halves], axis=1)


def _draw(pixels: Pixels, scale: float, half: Half, class_names: Sequence[str]) -> Pixels:
    large = resized(pixels, scale)
    size = line_size(large)
    caption_px = round(_CAPTION_PX * size)
    picture = cv2.copyMakeBorder(large, caption_px, 0, _MARGIN_PX, _MARGIN_PX, cv2.BORDER_CONSTANT, value=_WHITE)
    drawn = picture.astype(np.uint8, copy=False)
    write(drawn, half.caption, (6, caption_px - round(9 * size)), _BLACK, size)
    draw_boxes(drawn, half.detections, class_names, scale=scale, origin=(_MARGIN_PX, caption_px), alone=half.alone)
    return drawn
