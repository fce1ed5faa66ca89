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
from src.labels.conventions import Form, check_convention
from src.labels.dataset import LabelledImage
from src.labels.decoding import NEARLY_BLACK, TOO_DIM, Decoded, decode_all
from src.labels.faults import Faults

EDGE_TOLERANCE = 1e-5  # of the image's side: labels often have six digits, so a smaller excess is a rounding error
SLIGHT_PX = 2.0  # an edge beyond the image by less was rounded, or counted from 1
MOST_OTHER_SIZES = 3  # more labels of another size than their image are one fault, if most labels are such


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


_Read = tuple[Draft, Decoded]


def assemble(
    drafts: Sequence[Draft], form: Form, class_names: Sequence[str], faults: Faults
) -> tuple[LabelledImage, ...]:
    """Return the drafts as checked images, sorted by path, with mended boxes.

    An image that training cannot read, or of another size than its label gives, adds a fault and is left out. Boxes
    that are written by another convention than the form's add one fault for the dataset.
    """
    drafts = sorted(drafts, key=lambda draft: draft.image.as_posix())
    readable: list[_Read] = []
    for draft, decoded in zip(drafts, decode_all([draft.image for draft in drafts]), strict=True):
        if isinstance(decoded, str):
            faults.add(draft.image, decoded, "replace the image, or remove it with its label")
        else:
            readable.append((draft, decoded))
    _check_brightness(readable, faults)
    fitting = _of_their_size(readable, faults)
    _check_convention(fitting, form, faults)
    images = []
    for draft, decoded in fitting:
        corners = form.to_corners(draft.written)
        boxes = corners * np.tile(decoded.size_wh, 2) if form.in_fractions else corners
        boxes, classes = _mend(boxes, draft.classes, decoded.size_wh, draft.label, class_names, faults)
        images.append(LabelledImage(draft.image, decoded.size_wh, boxes, classes, draft.split, decoded.fingerprint))
    return tuple(images)


def _of_their_size(readable: Sequence[_Read], faults: Faults) -> list[_Read]:
    """Return the drafts whose label gives the image's size, or none; add faults for the others."""
    others = [(draft, decoded.size_wh) for draft, decoded in readable if not _has_its_size(draft, decoded)]
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
    return [(draft, decoded) for draft, decoded in readable if _has_its_size(draft, decoded)]


def _has_its_size(draft: Draft, decoded: Decoded) -> bool:
    return draft.size_wh in (None, decoded.size_wh)


def _px(size_wh: tuple[int, int] | None) -> str:
    return f"{'x'.join(map(str, size_wh or ()))} px"


def _check_convention(fitting: Sequence[_Read], form: Form, faults: Faults) -> None:
    written = np.concatenate([np.zeros((0, 4)), *(draft.written for draft, _ in fitting)])
    counts = [len(draft.written) for draft, _ in fitting]
    sizes_wh = np.array([decoded.size_wh for _, decoded in fitting], dtype=np.float64).reshape(-1, 2)
    labels = [draft.label for draft, _ in fitting for _ in range(len(draft.written))]
    faults.boxes += len(written)
    check_convention(form, written, np.repeat(sizes_wh, counts, axis=0), labels, faults)


def _check_brightness(readable: Sequence[_Read], faults: Faults) -> None:
    """Add a fault for each 16-bit image that is nearly black for training, which keeps only the high byte.

    Cameras often fill 12 or 14 of the 16 bits. If no image of the dataset uses the two highest bits, all are scaled
    like that. If others do, only an image without the four highest bits is a fault: one with 14 bits may be dim.
    """
    brightest = {
        draft.image: decoded.brightest_of_16_bits
        for draft, decoded in readable
        if decoded.brightest_of_16_bits is not None
    }
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
        what = f"box {index + 1} ({printable(class_names[index_of_class])} {corners} px) {what}"
        faults.mended(label, kind, what, slight=kind == "clipped" and bool(slight[index]))
    rows = list(kept.values())
    return clipped[rows], classes[rows]
