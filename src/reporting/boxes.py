"""Boxes with labels, drawn on an image by OpenCV.

The library supervision draws boxes, too. It is not used: it imports scipy and requests, which takes 0.3 s of processor
time where OpenCV and numpy take 0.1 s, and needs PyAV, which brings a second FFmpeg into the process.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import cv2
import numpy as np
from numpy.typing import NDArray

from src.deployment.detections import Detections
from src.foundation.errors import printable

SIDE_PX = 320
"""The least longer side of a picture: small images are enlarged so that labels can be read."""

_LARGE_PX = 640
"""Above this longer side, lines and letters grow with the picture."""

_WHITE = (255, 255, 255)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45

Pixels = NDArray[np.uint8]


def enlarged(pixels: Pixels) -> tuple[Pixels, float]:
    """Return a copy of an image to draw on, its longer side at least `SIDE_PX`, and the factor."""
    scale = max(1.0, SIDE_PX / max(pixels.shape[:2]))
    return (pixels.copy() if scale == 1 else resized(pixels, scale)), scale


def resized(pixels: Pixels, scale: float) -> Pixels:
    """Return an image of another size."""
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def line_size(pixels: Pixels) -> float:
    """Return the factor by which lines and letters grow in a large picture."""
    return max(1.0, max(pixels.shape[:2]) / _LARGE_PX)


def write(pixels: Pixels, text: str, lower_left: tuple[int, int], colour: tuple[int, int, int], size: float) -> None:
    """Write a line into a picture."""
    thickness = round(size)
    cv2.putText(pixels, text, lower_left, _FONT, _FONT_SCALE * size, colour, thickness, cv2.LINE_AA)


def draw_boxes(
    pixels: Pixels,
    detections: Detections,
    class_names: Sequence[str],
    *,
    scale: float,
    origin: tuple[int, int] = (0, 0),
    alone: Set[int] = frozenset(),
) -> None:
    """Draw detections into a picture. The label of a detection without a match is below its box.

    Args:
        pixels: (H, W, 3), BGR; it is changed.
        detections: in px of the image that the picture shows.
        class_names: by index.
        scale: px of the picture per px of the image.
        origin: px, the image's upper left corner in the picture.
        alone: the indices of those without a match in another network's detections.
    """
    size = line_size(pixels)
    width = round(2 * size)
    boxes = (np.round(detections.boxes_xyxy * scale) + np.tile(origin, 2)).astype(int).tolist()
    # Boxes without a match are drawn last and further inside: the usual disagreement is two classes for one box.
    for index in sorted(range(len(boxes)), key=lambda index: index in alone):
        left, top, right, bottom = boxes[index]
        label = f"{printable(class_names[detections.classes[index]])} {detections.scores[index]:.2f}"
        colour = _colour(int(detections.classes[index]))
        if index in alone:
            inside = round(3 * size)
            cv2.rectangle(pixels, (left + inside, top + inside), (right - inside, bottom - inside), colour, width)
            _label(pixels, f"{label} alone", (left, bottom - round(4 * size)), colour, size)
        else:
            cv2.rectangle(pixels, (left, top), (right, bottom), colour, width)
            lowest = origin[1] + round(10 * size)
            _label(pixels, label, (left, max(top - round(3 * size), lowest)), colour, size)


def _label(pixels: Pixels, text: str, lower_left: tuple[int, int], colour: tuple[int, int, int], size: float) -> None:
    (width, height), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE * size, round(size))
    left = max(min(lower_left[0], pixels.shape[1] - width - 2), 0)
    base = lower_left[1]
    cv2.rectangle(pixels, (left, base - height - 3), (left + width + 2, base + 3), colour, cv2.FILLED)
    write(pixels, text, (left + 1, base), _WHITE, size)


def _colour(index: int) -> tuple[int, int, int]:
    """Return a dark colour (BGR) per class. Hues are a golden angle apart, so that neighbouring classes differ most."""
    hue = int(index * 137.5 / 2) % 180  # OpenCV's hues are half degrees
    blue, green, red = cv2.cvtColor(np.array([[[hue, 220, 170]]], dtype=np.uint8), cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red
