"""Pictures of the detections of two models in the same image, side by side."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from ultralytics.utils.patches import imread

from src.deployment.detections import Detections
from src.foundation.errors import printable

SIDE_PX = 320
"""The longer side of each half: small images are enlarged so that labels can be read."""
_CAPTION_PX, _MARGIN_PX = 28, 2
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


@dataclass(frozen=True)
class Half:
    """One side of a picture: the detections of one model, and the indices of those without a match in the other."""

    caption: str
    detections: Detections
    alone: Set[int]


def side_by_side(image: Path, halves: Sequence[Half], class_names: Sequence[str], target: Path) -> None:
    """Write `image` once per half, side by side. The label of a detection without a match is below its box."""
    drawn = [_draw(image, half, class_names) for half in halves]
    cv2.imwrite(str(target), np.concatenate(drawn, axis=1))


def _draw(image: Path, half: Half, class_names: Sequence[str]) -> cv2.typing.MatLike:
    pixels = imread(image)
    assert pixels is not None, f"{image}: cannot be read"
    scale = SIDE_PX / max(pixels.shape[:2])
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    pixels = cv2.copyMakeBorder(pixels, _CAPTION_PX, 0, _MARGIN_PX, _MARGIN_PX, cv2.BORDER_CONSTANT, value=_WHITE)
    cv2.putText(pixels, half.caption, (6, _CAPTION_PX - 9), _FONT, _FONT_SCALE, _BLACK, 1, cv2.LINE_AA)
    frame = np.array([_MARGIN_PX, _CAPTION_PX, _MARGIN_PX, _CAPTION_PX])
    boxes = (np.round(half.detections.boxes_xyxy * scale) + frame).astype(int).tolist()
    # Boxes without a match are drawn last and 3 px inside: the usual disagreement is two classes for one box.
    for index in sorted(range(len(boxes)), key=lambda index: index in half.alone):
        left, top, right, bottom = boxes[index]
        label = f"{printable(class_names[half.detections.classes[index]])} {half.detections.scores[index]:.2f}"
        colour = _colour(int(half.detections.classes[index]))
        if index in half.alone:
            cv2.rectangle(pixels, (left + 3, top + 3), (right - 3, bottom - 3), colour, 2)
            _write(pixels, f"{label} alone", (left, bottom - 4), colour)
        else:
            cv2.rectangle(pixels, (left, top), (right, bottom), colour, 2)
            _write(pixels, label, (left, max(top - 3, _CAPTION_PX + 10)), colour)
    return pixels


def _write(pixels: cv2.typing.MatLike, text: str, lower_left: tuple[int, int], colour: tuple[int, int, int]) -> None:
    (width, height), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    left = max(min(lower_left[0], pixels.shape[1] - width - 2), 0)
    base = lower_left[1]
    cv2.rectangle(pixels, (left, base - height - 3), (left + width + 2, base + 3), colour, cv2.FILLED)
    cv2.putText(pixels, text, (left + 1, base), _FONT, _FONT_SCALE, _WHITE, 1, cv2.LINE_AA)


def _colour(index: int) -> tuple[int, int, int]:
    """Return a dark colour (BGR) per class. Hues are a golden angle apart, so that neighbouring classes differ most."""
    hue = int(index * 137.5 / 2) % 180  # OpenCV's hues are half degrees
    blue, green, red = cv2.cvtColor(np.array([[[hue, 220, 170]]], dtype=np.uint8), cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red
