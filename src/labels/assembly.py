"""Turn the drafts of a reader into checked `LabelledImage`s: decode every image, keep, clip or drop every box.

The readers (voc, coco, yolo) parse one format each. This module is the same for all formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from src.foundation.processors import usable_processors
from src.labels.dataset import LabelledImage
from src.labels.faults import Faults

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
SMALLEST_SIDE_PX = 10  # ultralytics treats smaller images as corrupt and drops them from training without an error
EDGE_TOLERANCE = 1e-5  # of the image's side: labels often have six digits, so a smaller excess is a rounding error
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Draft:
    """An image and its boxes, as in the label file.

    Attributes:
        image: the image file.
        label: faults of the boxes are listed under the name of this file.
        size_wh: width and height in the label, px; None if the label has none.
        boxes_xyxy: (N, 4) float64: px, or fractions of the image's sides if `in_fractions`.
        classes: (N,) int64.
        split: train, val or test; None if the folder defines no splits.
    """

    image: Path
    label: Path
    size_wh: tuple[int, int] | None
    boxes_xyxy: NDArray[np.float64]
    classes: NDArray[np.int64]
    split: str | None
    in_fractions: bool = False


def assemble(drafts: Sequence[Draft], class_names: Sequence[str], faults: Faults) -> tuple[LabelledImage, ...]:
    """Return the drafts as checked images, sorted by path, with mended boxes.

    An unreadable image, or an image of another size than its label gives, adds a fault and is left out.
    """
    drafts = sorted(drafts, key=lambda draft: draft.image.as_posix())
    images = []
    for draft, measured in zip(drafts, measure_all([draft.image for draft in drafts]), strict=True):
        if isinstance(measured, str):
            faults.add(draft.image, measured, "replace the image, or remove it with its label")
            continue
        if draft.size_wh is not None and draft.size_wh != measured:
            claimed, real = ("x".join(map(str, size)) for size in (draft.size_wh, measured))
            what = f"the label gives {claimed} px, but the image is {real} px"
            faults.add(draft.label, what, "correct the label or the image")
            continue
        boxes = draft.boxes_xyxy * np.tile(measured, 2) if draft.in_fractions else draft.boxes_xyxy
        boxes, classes = _mend(boxes, draft.classes, measured, draft.label, class_names, faults)
        images.append(LabelledImage(draft.image, measured, boxes, classes, draft.split))
    return tuple(images)


def image_size(path: Path) -> tuple[int, int]:
    """Decode an image and return its width and height, px, after EXIF orientation.

    Raises:
        Exception: Pillow cannot decode the image. The type depends on the damage.
    """
    with Image.open(path, formats=FORMATS) as image:
        size_wh = image.size
        # Decoding a JPEG at an eighth of its size still reads all bytes, in half the time.
        image.draft(image.mode, (1, 1))
        image.load()
        turned = image.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)
    return (size_wh[1], size_wh[0]) if turned else size_wh


def measure_all(paths: Sequence[Path]) -> Iterator[tuple[int, int] | str]:
    """Decode images. Yield the width and height of each, px, or the reason why it cannot be used."""
    with ThreadPoolExecutor(usable_processors()) as pool:  # decoding releases the GIL
        measured = pool.map(_measure, paths)
        yield from tqdm(measured, desc="checking images", total=len(paths), unit="image", mininterval=1)


def _measure(path: Path) -> tuple[int, int] | str:
    """Return the width and height of an image, px, or the reason why it cannot be used."""
    try:
        size_wh = image_size(path)
    except (UnidentifiedImageError, ModuleNotFoundError):  # the latter if ultralytics made Pillow look for HEIF
        return f"not a readable image (none of {', '.join(FORMATS)})"
    except Exception as error:  # Pillow raises a dozen types on broken bytes, also SyntaxError and struct.error
        reason = " ".join(str(error).split())
        return f"not a readable image ({reason or type(error).__name__})"
    if min(size_wh) < SMALLEST_SIDE_PX:
        return f"{size_wh[0]}x{size_wh[1]} px, smaller than the minimum of {SMALLEST_SIDE_PX} px for training"
    return size_wh


def _mend(
    boxes_xyxy: NDArray[np.float64],
    classes: NDArray[np.int64],
    size_wh: tuple[int, int],
    label: Path,
    class_names: Sequence[str],
    faults: Faults,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clip boxes to the image; drop duplicates and boxes without area. Record each change in `faults`."""
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
            kind, what = "no_size", "is outside of the image: dropped"
        elif key in kept:
            kind, what = "doubled", f"duplicates box {kept[key] + 1}: dropped"
        else:
            kept[key] = index
            if not over[index]:
                continue
            kind, what = "clipped", "crosses the edge of the image: clipped"
        corners = " ".join(f"{value:g}" for value in boxes_xyxy[index])
        faults.mended(label, kind, f"box {index + 1} ({class_names[index_of_class]} {corners} px) {what}")
    rows = list(kept.values())
    return clipped[rows], classes[rows]
