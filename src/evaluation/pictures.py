"""Pictures for the eye: what two detectors find in the same image, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from src.evaluation.agreement import Detections

SIDE_PX = 480
"""The longer side of each half: small images are enlarged until boxes can be read."""
_CAPTION_PX = 28
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


def side_by_side(
    image: Path, halves: Sequence[tuple[str, Detections]], class_names: Sequence[str], target: Path
) -> None:
    """Write `image` once per (caption, detections), beside each other, as PNG."""
    drawn = [_half(image, caption, detections, class_names) for caption, detections in halves]
    cv2.imwrite(str(target), np.concatenate(drawn, axis=1))


def _half(image: Path, caption: str, detections: Detections, class_names: Sequence[str]) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    assert pixels is not None, f"{image} was detected in a moment ago"
    scale = SIDE_PX / max(pixels.shape[:2])
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    pixels = cv2.copyMakeBorder(pixels, _CAPTION_PX, 0, 2, 2, cv2.BORDER_CONSTANT, value=_WHITE)
    cv2.putText(pixels, caption, (6, _CAPTION_PX - 9), _FONT, _FONT_SCALE, _BLACK, 1, cv2.LINE_AA)
    frame = np.array([2, _CAPTION_PX, 2, _CAPTION_PX])
    for box, score, index in zip(detections.boxes_xyxy, detections.scores, detections.classes, strict=True):
        left, top, right, bottom = (np.round(box * scale) + frame).astype(int).tolist()
        colour = _colour(int(index))
        cv2.rectangle(pixels, (left, top), (right, bottom), colour, 2)
        label = f"{class_names[index]} {score:.2f}"
        (width, height), _ = cv2.getTextSize(label, _FONT, _FONT_SCALE, 1)
        base = max(top - 3, _CAPTION_PX + height)
        cv2.rectangle(pixels, (left, base - height - 3), (left + width + 2, base + 3), colour, cv2.FILLED)
        cv2.putText(pixels, label, (left + 1, base), _FONT, _FONT_SCALE, _WHITE, 1, cv2.LINE_AA)
    return pixels.astype(np.uint8)


def _colour(index: int) -> tuple[int, int, int]:
    """Return a dark colour (BGR) per class: hues a golden angle apart, so that neighbours differ most."""
    hue = int(index * 137.5 / 2) % 180  # OpenCV's hues are half degrees
    blue, green, red = cv2.cvtColor(np.array([[[hue, 220, 170]]], dtype=np.uint8), cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red
