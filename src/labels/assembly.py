"""Turn the drafts of a reader into checked `LabelledImage`s: decode every image, keep, clip or drop every box.

The readers (voc, coco, yolo) parse one format each. This module is the same for all formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.foundation.errors import printable
from src.labels.dataset import LabelledImage
from src.labels.decoding import NEARLY_BLACK, TOO_DIM, Decoded, decode_all
from src.labels.faults import Faults

EDGE_TOLERANCE = 1e-5  # of the image's side: labels often have six digits, so a smaller excess is a rounding error


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

    An image that training cannot read, or of another size than its label gives, adds a fault and is left out.
    """
    drafts = sorted(drafts, key=lambda draft: draft.image.as_posix())
    images = []
    brightest: dict[Path, int] = {}
    for draft, decoded in zip(drafts, decode_all([draft.image for draft in drafts]), strict=True):
        if isinstance(decoded, str):
            faults.add(draft.image, decoded, "replace the image, or remove it with its label")
            continue
        if decoded.brightest_of_16_bits is not None:
            brightest[draft.image] = decoded.brightest_of_16_bits
        image = _checked(draft, decoded, class_names, faults)
        if image is not None:
            images.append(image)
    _check_brightness(brightest, faults)
    return tuple(images)


def _checked(draft: Draft, decoded: Decoded, class_names: Sequence[str], faults: Faults) -> LabelledImage | None:
    """Return the image with mended boxes; None, and a fault, if its label gives another size."""
    measured = decoded.size_wh
    if draft.size_wh is not None and draft.size_wh != measured:
        claimed, real = ("x".join(map(str, size)) for size in (draft.size_wh, measured))
        what = f"the label gives {claimed} px, but the image is {real} px"
        faults.add(draft.label, what, "correct the label or the image")
        return None
    boxes = draft.boxes_xyxy * np.tile(measured, 2) if draft.in_fractions else draft.boxes_xyxy
    boxes, classes = _mend(boxes, draft.classes, measured, draft.label, class_names, faults)
    return LabelledImage(draft.image, measured, boxes, classes, draft.split, decoded.fingerprint)


def _check_brightness(brightest: dict[Path, int], faults: Faults) -> None:
    """Add a fault for each 16-bit image that is nearly black for training, which keeps only the high byte.

    Cameras often fill 12 or 14 of the 16 bits. If no image of the dataset uses the two highest bits, all are scaled
    like that. If others do, only an image without the four highest bits is a fault: one with 14 bits may be dim.

    Args:
        brightest: the largest value, 0 to 255, that training gets of each 16-bit image.
    """
    limit = TOO_DIM if all(value < TOO_DIM for value in brightest.values()) else NEARLY_BLACK
    for path, value in brightest.items():
        if value < limit:
            what = f"16 bits, of which training reads the upper 8: its brightest value is {value} of 255, nearly black"
            faults.add(path, what, "scale the values to the whole range, or save the image with 8 bits")


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
        faults.mended(label, kind, f"box {index + 1} ({printable(class_names[index_of_class])} {corners} px) {what}")
    rows = list(kept.values())
    return clipped[rows], classes[rows]
