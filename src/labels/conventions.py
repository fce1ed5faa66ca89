"""Refuse a dataset whose boxes are written by another convention than its form has, instead of mending box after box.

Each form writes a box as four numbers: VOC as edges, COCO as left, top, width and height, YOLO as centre, width and
height in fractions. A tool that writes other numbers there gives boxes of no size or beyond the image, but not all of
them: the rest would be trained on, and all of these are wrong. So the numbers of all boxes are read by each convention
that is known to be confused with the form's own, and the share of boxes within their image is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.labels.faults import MEND_KINDS, Faults

Boxes = NDArray[np.float64]
ToCorners = Callable[[Boxes], Boxes]

EXPORT_AGAIN = "export the labels in the expected form, or convert them"
TOLERANCE = 0.01  # of the image's side: how far a box may leave the image and count as inside
LEAST_SHARE = 0.05  # of all boxes do not fit, before another convention is considered
FITTING_SHARE = 0.98  # of all boxes have to fit if read by another convention
RESCALED_SHARE = 0.2  # of all boxes reach beyond their image, before another resolution is considered
PERCENT = (97, 100.5)  # where the edge of an image is in labels in percent
FEWEST_BOXES = 50  # for conclusions from where no box is
LARGEST_SCALE = 0.67  # above, an empty strip at the right and lower edge may be chance
AT_THE_EDGE = 3  # boxes that end at the same place, as those at the edge of an image do


def _edges(v: Boxes) -> Boxes:
    return v


def _from_corner(v: Boxes) -> Boxes:
    return np.concatenate([v[:, :2], v[:, :2] + v[:, 2:]], axis=1)


def _from_centre(v: Boxes) -> Boxes:
    return np.concatenate([v[:, :2] - v[:, 2:] / 2, v[:, :2] + v[:, 2:] / 2], axis=1)


def _exchanged(to_corners: ToCorners) -> ToCorners:
    return lambda v: to_corners(v[:, [1, 0, 3, 2]])


@dataclass(frozen=True)
class Form:
    """How a form writes a box, and what it is confused with.

    Attributes:
        expected: in words.
        to_corners: from the four numbers to left, top, right, bottom.
        confused: other conventions, in words, each with its own `to_corners`.
        in_fractions: the numbers are fractions of the image's sides, not px.
    """

    expected: str
    to_corners: ToCorners
    confused: dict[str, ToCorners]
    in_fractions: bool = False


VOC = Form(
    "left, upper, right and lower edge, px",
    _edges,
    {
        "left and upper edge, width and height": _from_corner,
        "centre, width and height": _from_centre,
        "edges with x and y exchanged": _exchanged(_edges),
    },
)
COCO = Form(
    "left and upper edge, width and height, px",
    _from_corner,
    {
        "left, upper, right and lower edge": _edges,
        "centre, width and height": _from_centre,
        "edges and sides with x and y exchanged": _exchanged(_from_corner),
    },
)
YOLO = Form(
    "centre, width and height, as fractions",
    _from_centre,
    {
        "left, upper, right and lower edge": _edges,
        "left and upper edge, width and height": _from_corner,
    },
    in_fractions=True,
)


def check_convention(
    form: Form, written: Boxes, sizes_wh: NDArray[np.float64], labels: Sequence[Path], faults: Faults
) -> None:
    """Add one fault for the whole dataset if its boxes are written by a convention that the form cannot mean.

    Args:
        form: of the labels.
        written: (N, 4) the numbers of each box as its label has them.
        sizes_wh: (N, 2) width and height of each box's image, px.
        labels: (N) the file that has each box.
        faults: with `largest_mended_share` 1 or more, nothing is refused.
    """
    if len(written) and (faults.largest_mended_share is None or faults.largest_mended_share < 1):
        sides = np.ones((len(written), 4)) if form.in_fractions else np.tile(sizes_wh, 2)
        corners = form.to_corners(written)
        found = (
            _fractions(form, written)
            or _other_order(form, written, sides)
            or _larger_scale(corners, sides)
            or _smaller_scale(corners, sides)
            or _percent(form, corners, sides)
        )
        if found is not None:
            shows, seems = found
            what = f"{int(shows.sum())} of {len(shows)} boxes ({shows.mean():.0%}) {seems}; expected {form.expected}"
            first = faults.name(labels[int(shows.argmax())])
            faults.add(faults.root, f"{what} (the first is in {first})", EXPORT_AGAIN)


def check_mended_share(faults: Faults) -> None:
    """Add a fault if more boxes had to be mended than `largest_mended_share` allows. Slight mends do not count."""
    limit = faults.largest_mended_share
    mended = [mend for mend in faults.mends if not mend.slight]
    named = any(fault.what_to_do == EXPORT_AGAIN for fault in faults.fatal)  # the convention explains the mends
    if named or limit is None or len(mended) <= limit * faults.boxes:
        return
    counts = Counter(mend.kind for mend in mended)
    kinds = "; ".join(f"{counts[kind]} {words}" for kind, words in MEND_KINDS.items() if counts[kind])
    share = f"{len(mended)} of {faults.boxes} boxes ({len(mended) / faults.boxes:.0%})"
    what = (
        f"{share} would have to be mended ({kinds}), more than {limit:.0%}: perhaps the labels are written by another "
        f"convention, or belong to other images (the first is in {mended[0].file}: {mended[0].what})"
    )
    faults.add(faults.root, what, "correct the labels; if the mends are right, set prepare_labels.largest_mended_share")


Found = tuple[NDArray[np.bool_], str]
"""Which boxes (N,) show that the convention is another one, and what follows "12 of 34 boxes"."""


def _fractions(form: Form, written: Boxes) -> Found | None:
    """A box of fractions, read as px, lies within one pixel, which no label means."""
    if form.in_fractions:
        return None
    tiny = np.all(np.abs(written) <= 1, axis=1) & np.any(written != np.round(written), axis=1)
    return (tiny, "have no number above 1: they seem to be fractions of the image's sides") if tiny.any() else None


def _other_order(form: Form, written: Boxes, sides: Boxes) -> Found | None:
    misfit = ~_fits(form.to_corners(written) / sides)
    if misfit.sum() < max(2, LEAST_SHARE * len(written)):
        return None
    shares = {name: float(_fits(f(written) / sides).mean()) for name, f in form.confused.items()}
    best = max(shares.values())
    if best < FITTING_SHARE:
        return None
    names = " or ".join(name for name, share in shares.items() if share == best)
    return misfit, f"have no size or leave their image, but {best:.0%} fit if the numbers are {names}"


def _larger_scale(corners: Boxes, sides: Boxes) -> Found | None:
    """Labels of a larger image reach beyond the right and the lower edge of this one."""
    ends = corners[:, 2:] / sides[:, 2:]
    beyond = np.any(ends > 1 + TOLERANCE, axis=1)
    reach = ends.max(axis=0)
    if beyond.mean() < RESCALED_SHARE or beyond.sum() < 2 or not np.all(reach > 1 + 2 * TOLERANCE):
        return None
    where = f"to {reach[0]:.2f} times its width and {reach[1]:.2f} times its height"
    return beyond, f"reach beyond their image, {where}: they seem to be labels of another resolution"


def _smaller_scale(corners: Boxes, sides: Boxes) -> Found | None:
    """Labels of a smaller image lie in the upper left part of this one, and many end at the same place: at its edge."""
    ends = corners[:, 2:] / sides[:, 2:]
    reach = ends.max(axis=0)
    same_scale = abs(reach[0] - reach[1]) <= 2 * TOLERANCE and reach.max() <= LARGEST_SCALE
    if len(ends) < FEWEST_BOXES or not same_scale or not _has_an_edge(ends, reach, TOLERANCE):
        return None
    where = f"the upper left {reach.max():.0%} of their image's width and height"
    return np.ones(len(ends), dtype=bool), f"lie in {where}: they seem to be labels of another resolution"


def _percent(form: Form, corners: Boxes, sides: Boxes) -> Found | None:
    ends = corners[:, 2:]
    reach = ends.max(axis=0)
    low, high = PERCENT
    if form.in_fractions or len(ends) < FEWEST_BOXES or not np.all((reach >= low) & (reach <= high)):
        return None
    if sides.min() < high / LARGEST_SCALE or not _has_an_edge(ends, reach, 1):
        return None
    return np.ones(len(ends), dtype=bool), "have no number above 100: they seem to be percent of the image's sides"


def _has_an_edge(ends: Boxes, reach: Boxes, width: float) -> bool:
    """Return whether several boxes (N, 2) end within `width` of where the last one does, in both directions."""
    return bool((ends > reach - width).sum(axis=0).min() >= AT_THE_EDGE)


def _fits(corners: Boxes) -> NDArray[np.bool_]:
    """Return which boxes (N, 4), as fractions of the sides, have a size and lie within their image."""
    has_size = np.all(corners[:, 2:] > corners[:, :2], axis=1)
    within = np.all((corners >= -TOLERANCE) & (corners <= 1 + TOLERANCE), axis=1)
    fits: NDArray[np.bool_] = has_size & within
    return fits
