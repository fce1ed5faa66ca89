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
from src.labels.conventions import Form, check_convention
from src.labels.dataset import LabelledImage
from src.labels.faults import Faults

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
SMALLEST_SIDE_PX = 10  # ultralytics treats smaller images as corrupt and drops them from training without an error
EDGE_TOLERANCE = 1e-5  # of the image's side: labels often have six digits, so a smaller excess is a rounding error
SLIGHT_PX = 2.0  # an edge beyond the image by less was rounded, or counted from 1
MOST_OTHER_SIZES = 3  # more labels of another size than their image are one fault, if most labels are such
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Draft:
    """An image and its boxes, as in the label file.

    Attributes:
        image: the image file.
        label: faults of the boxes are listed under the name of this file.
        size_wh: width and height in the label, px; None if the label has none.
        written: (N, 4) float64: the numbers of each box, as the form has them.
        classes: (N,) int64.
        split: train, val or test; None if the folder defines no splits.
    """

    image: Path
    label: Path
    size_wh: tuple[int, int] | None
    written: NDArray[np.float64]
    classes: NDArray[np.int64]
    split: str | None


def assemble(
    drafts: Sequence[Draft], form: Form, class_names: Sequence[str], faults: Faults
) -> tuple[LabelledImage, ...]:
    """Return the drafts as checked images, sorted by path, with mended boxes.

    An unreadable image, or an image of another size than its label gives, adds a fault and is left out. Boxes that are
    written by another convention than the form's add one fault for the dataset.
    """
    drafts = sorted(drafts, key=lambda draft: draft.image.as_posix())
    readable: list[tuple[Draft, tuple[int, int]]] = []
    for draft, measured in zip(drafts, measure_all([draft.image for draft in drafts]), strict=True):
        if isinstance(measured, str):
            faults.add(draft.image, measured, "replace the image, or remove it with its label")
        else:
            readable.append((draft, measured))
    fitting = _of_their_size(readable, faults)
    _check_convention(fitting, form, faults)
    images = []
    for draft, size_wh in fitting:
        corners = form.to_corners(draft.written)
        boxes = corners * np.tile(size_wh, 2) if form.in_fractions else corners
        boxes, classes = _mend(boxes, draft.classes, size_wh, draft.label, class_names, faults)
        images.append(LabelledImage(draft.image, size_wh, boxes, classes, draft.split))
    return tuple(images)


def _of_their_size(
    readable: Sequence[tuple[Draft, tuple[int, int]]], faults: Faults
) -> list[tuple[Draft, tuple[int, int]]]:
    """Return the drafts whose label gives the image's size, or none; add faults for the others."""
    others = [pair for pair in readable if pair[0].size_wh not in (None, pair[1])]
    told = sum(draft.size_wh is not None for draft, _ in readable)
    # As shown and as stored differ by a turn; LabelImg's older versions label the image as stored.
    rescaled = [(draft, real) for draft, real in others if draft.size_wh != real[::-1]]
    if len(rescaled) > MOST_OTHER_SIZES and 2 * len(rescaled) > told:
        first, real = rescaled[0]
        boxes, all_boxes = sum(len(d.written) for d, _ in rescaled), sum(len(d.written) for d, _ in readable)
        what = (
            f"{len(rescaled)} of {told} labels, with {boxes} of {all_boxes} boxes ({boxes / max(1, all_boxes):.0%}), "
            f"are of another resolution than their image, such as {_px(first.size_wh)} for {_px(real)} "
            f"({faults.name(first.label)})"
        )
        faults.add(faults.root, what, "put the images there on which the boxes were drawn, or convert the labels")
        others = [(draft, real) for draft, real in others if draft.size_wh == real[::-1]]
    for draft, real in others:
        what = f"the label gives {_px(draft.size_wh)}, but the image is {_px(real)}"
        if draft.size_wh == real[::-1]:
            what += " as it is shown: its EXIF orientation may turn it, and the boxes were drawn before"
        faults.add(draft.label, what, "correct the label or the image")
    return [pair for pair in readable if pair[0].size_wh in (None, pair[1])]


def _px(size_wh: tuple[int, int] | None) -> str:
    return f"{'x'.join(map(str, size_wh or ()))} px"


def _check_convention(fitting: Sequence[tuple[Draft, tuple[int, int]]], form: Form, faults: Faults) -> None:
    written = np.concatenate([np.zeros((0, 4)), *(draft.written for draft, _ in fitting)])
    counts = [len(draft.written) for draft, _ in fitting]
    sizes = np.repeat(np.array([size for _, size in fitting], dtype=np.float64).reshape(-1, 2), counts, axis=0)
    labels = [draft.label for draft, _ in fitting for _ in range(len(draft.written))]
    faults.boxes += len(written)
    check_convention(form, written, sizes, labels, faults)


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
    """Sort exchanged corners, clip boxes to the image, drop duplicates and boxes without area; record each change."""
    limits = np.tile(np.asarray(size_wh, dtype=np.float64), 2)
    low, high = np.minimum(boxes_xyxy[:, :2], boxes_xyxy[:, 2:]), np.maximum(boxes_xyxy[:, :2], boxes_xyxy[:, 2:])
    ordered = np.concatenate([low, high], axis=1)
    clipped = np.clip(ordered, 0, limits)
    beyond = np.abs(clipped - ordered)
    over = np.any(beyond > EDGE_TOLERANCE * limits, axis=1)
    slight = np.all(beyond < SLIGHT_PX, axis=1)
    swapped = np.any(ordered != boxes_xyxy, axis=1)
    flat = np.any(high <= low, axis=1)
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
            if swapped[index]:
                kind, what = "swapped", f"has its corners exchanged: sorted{' and clipped' if over[index] else ''}"
            elif over[index]:
                kind, what = "clipped", "crosses the edge of the image: clipped"
            else:
                continue
        corners = " ".join(f"{value:g}" for value in boxes_xyxy[index])
        what = f"box {index + 1} ({class_names[index_of_class]} {corners} px) {what}"
        faults.mended(label, kind, what, slight=kind == "clipped" and bool(slight[index]))
    rows = list(kept.values())
    return clipped[rows], classes[rows]
