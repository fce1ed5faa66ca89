"""From what a label file says to a checked `LabelledImage`: every image is decoded, every box mended or kept.

Readers know a format and hand over drafts; what happens here is the same for all formats.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from src.labels.dataset import LabelledImage
from src.labels.faults import Faults

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
SMALLEST_SIDE_PX = 10  # ultralytics takes smaller images for corrupt and leaves them out of training without an error
EDGE_TOLERANCE = 1e-5  # of the image's side: labels are often written with six digits, and that much over is rounding
EXIF_ORIENTATION = 0x0112
THREADS = min(8, os.cpu_count() or 1)  # decoding releases the interpreter's lock


@dataclass(frozen=True)
class Draft:
    """An image and its boxes as a label file has them.

    Attributes:
        image: the image file.
        label: the file under whose name the faults of these boxes are listed.
        size_wh: width and height that the label claims, px; None if it claims none.
        boxes_xyxy: (N, 4) float64: px, or fractions of the image's sides if `in_fractions`.
        classes: (N,) int64.
        split: train, val or test; None if the format does not say.
    """

    image: Path
    label: Path
    size_wh: tuple[int, int] | None
    boxes_xyxy: NDArray[np.float64]
    classes: NDArray[np.int64]
    split: str | None
    in_fractions: bool = False


def assemble(drafts: Sequence[Draft], class_names: Sequence[str], faults: Faults) -> tuple[LabelledImage, ...]:
    """Return the drafts whose image can be read, sorted by path, with mended boxes; the rest become faults."""
    drafts = sorted(drafts, key=lambda draft: draft.image.as_posix())
    images = []
    for draft, measured in zip(drafts, measure_all([draft.image for draft in drafts]), strict=True):
        if isinstance(measured, str):
            faults.add(draft.image, measured, "replace the image, or remove it with its label")
            continue
        if draft.size_wh is not None and draft.size_wh != measured:
            claimed, real = ("x".join(map(str, size)) for size in (draft.size_wh, measured))
            faults.add(draft.label, f"says {claimed} px, but the image is {real} px", "correct the label or the image")
            continue
        boxes = draft.boxes_xyxy * np.tile(measured, 2) if draft.in_fractions else draft.boxes_xyxy
        boxes, classes = _mend(boxes, draft.classes, measured, draft.label, class_names, faults)
        images.append(LabelledImage(draft.image, measured, boxes, classes, draft.split))
    return tuple(images)


def image_size(path: Path) -> tuple[int, int]:
    """Decode an image and return its width and height, px, as it is displayed (EXIF orientation applied).

    Raises:
        Exception: whatever Pillow finds wrong with it.
    """
    with Image.open(path, formats=FORMATS) as image:
        size_wh = image.size
        # A JPEG decoded at an eighth of its size is read to its last byte all the same, in half the time.
        image.draft(image.mode, (1, 1))
        image.load()
        turned = image.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)
    return (size_wh[1], size_wh[0]) if turned else size_wh


def measure_all(paths: Sequence[Path]) -> Iterator[tuple[int, int] | str]:
    """Decode images and yield the width and height of each, px, or what is wrong with it."""
    with ThreadPoolExecutor(THREADS) as pool:
        measured = pool.map(_measure, paths)
        yield from tqdm(measured, desc="checking images", total=len(paths), unit="image", mininterval=1)


def _measure(path: Path) -> tuple[int, int] | str:
    """Return the size of an image, px, or what is wrong with it."""
    try:
        size_wh = image_size(path)
    except (UnidentifiedImageError, ModuleNotFoundError):  # the latter where ultralytics made Pillow look for HEIF
        return f"not a readable image (none of {', '.join(FORMATS)})"
    except Exception as error:  # Pillow raises a dozen kinds on broken bytes, SyntaxError and struct.error too
        reason = " ".join(str(error).split())
        return f"not a readable image ({reason or type(error).__name__})"
    if min(size_wh) < SMALLEST_SIDE_PX:
        return f"{size_wh[0]}x{size_wh[1]} px, smaller than {SMALLEST_SIDE_PX} px, which training refuses"
    return size_wh


def _mend(
    boxes_xyxy: NDArray[np.float64],
    classes: NDArray[np.int64],
    size_wh: tuple[int, int],
    label: Path,
    class_names: Sequence[str],
    faults: Faults,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clip boxes to the image, drop those of no size and all but the first of equal ones; tell `faults` of each."""
    limits = np.tile(np.asarray(size_wh, dtype=np.float64), 2)
    clipped = np.clip(boxes_xyxy, 0, limits)
    over = np.any(np.abs(clipped - boxes_xyxy) > EDGE_TOLERANCE * limits, axis=1)
    flat = np.any(boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2], axis=1)
    outside = np.any(clipped[:, 2:] <= clipped[:, :2], axis=1)
    kept: dict[tuple[float, ...], int] = {}
    for index, (box, index_of_class) in enumerate(zip(clipped, classes, strict=True)):
        key = (float(index_of_class), *box)
        if flat[index]:
            kind, what = "no_size", "has no size: dropped"
        elif outside[index]:
            kind, what = "no_size", "lies outside of the image: dropped"
        elif key in kept:
            kind, what = "doubled", f"is there already as box {kept[key] + 1}: dropped"
        else:
            kept[key] = index
            if not over[index]:
                continue
            kind, what = "clipped", "reaches over the edge: clipped"
        corners = " ".join(f"{value:g}" for value in boxes_xyxy[index])
        faults.mended(label, kind, f"box {index + 1} ({class_names[index_of_class]} {corners} px) {what}")
    rows = list(kept.values())
    return clipped[rows], classes[rows]
