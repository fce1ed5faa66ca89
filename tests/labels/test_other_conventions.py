"""A dataset whose boxes are written by another convention than its form has is refused as a whole, with its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from src.foundation.errors import UserError
from src.labels.assembly import Draft, assemble
from src.labels.conventions import COCO, VOC, YOLO, Form, check_convention, check_mended_share
from src.labels.faults import Faults
from tests.labels.small_folders import WIDTH, write_image

SIZE_WH = (640, 480)
SIDES = np.tile(SIZE_WH, 2)
Boxes = NDArray[np.float64]


def edges() -> Boxes:
    """Return (200, 4) left, top, right, bottom, px, of boxes in an image; some touch its right or lower edge."""
    random = np.random.default_rng(0)
    left_top = random.uniform(0, 0.8, (200, 2)) * SIZE_WH
    right_bottom = np.minimum(left_top + random.uniform(0.05, 0.4, (200, 2)) * SIZE_WH, SIZE_WH)
    return np.concatenate([left_top, right_bottom], axis=1)


def corner(boxes: Boxes) -> Boxes:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def centre(boxes: Boxes) -> Boxes:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def exchanged(boxes: Boxes) -> Boxes:
    return boxes[:, [1, 0, 3, 2]]


PX = edges()
FRACTIONS = PX / SIDES
MEANT = {"voc": (VOC, PX), "coco": (COCO, corner(PX)), "yolo": (YOLO, centre(FRACTIONS))}
OTHER: dict[str, tuple[Form, Boxes, str]] = {
    "voc: fractions": (VOC, FRACTIONS, "200 of 200 boxes (100%) have no number above 1: they seem to be fractions"),
    "voc: width and height": (VOC, corner(PX), "fit if the numbers are left and upper edge, width and height"),
    "voc: centre": (VOC, centre(PX), "fit if the numbers are centre, width and height"),
    "voc: x and y exchanged": (VOC, exchanged(PX), "fit if the numbers are edges with x and y exchanged"),
    "voc: percent": (VOC, 100 * FRACTIONS, "have no number above 100: they seem to be percent"),
    "voc: a smaller image": (VOC, PX / 2, "lie in the upper left 50% of their image's width and height"),
    "voc: a larger image": (VOC, PX * 2, "reach beyond their image, to 2.00 times its width and 2.00 times its height"),
    "coco: edges": (COCO, PX, "fit if the numbers are left, upper, right and lower edge"),
    "coco: fractions": (COCO, corner(FRACTIONS), "they seem to be fractions"),
    "coco: centre": (COCO, centre(PX), "fit if the numbers are centre, width and height"),
    "coco: x and y exchanged": (COCO, exchanged(corner(PX)), "edges and sides with x and y exchanged"),
    "coco: a smaller image": (COCO, corner(PX / 2), "labels of another resolution"),
    "yolo: edges": (YOLO, FRACTIONS, "fit if the numbers are left, upper, right and lower edge"),
    "yolo: left and top": (YOLO, corner(FRACTIONS), "fit if the numbers are left and upper edge, width and height"),
}


def found(form: Form, written: Boxes, limit: float = 0.2) -> list[str]:
    faults = Faults(Path("root"), largest_mended_share=limit)
    labels = [Path("root/a.xml")] * len(written)
    check_convention(form, written, np.tile(SIZE_WH, (len(written), 1)), labels, faults)
    return [fault.what for fault in faults.fatal]


@pytest.mark.parametrize(("form", "written", "expected"), OTHER.values(), ids=OTHER.keys())
def test_another_convention_is_named(form: Form, written: Boxes, expected: str) -> None:
    (what,) = found(form, written)
    assert expected in what
    assert f"expected {form.expected} (the first is in a.xml)" in what


@pytest.mark.parametrize(("form", "written"), MEANT.values(), ids=MEANT.keys())
def test_form_as_it_is_meant(form: Form, written: Boxes) -> None:
    assert found(form, written) == []


def test_nothing_is_looked_for_if_all_mends_are_allowed() -> None:
    assert found(VOC, FRACTIONS, 1.0) == []


def test_small_objects_in_the_upper_left_are_no_other_resolution() -> None:
    """Boxes that end anywhere do not show the edge of a smaller image."""
    left_top = np.random.default_rng(0).normal(0.2, 0.05, (200, 2)) * SIZE_WH
    assert found(VOC, np.concatenate([left_top, left_top + 20], axis=1)) == []


def assembled(tmp_path: Path, boxes: Boxes, limit: float) -> Faults:
    faults = Faults(tmp_path, largest_mended_share=limit)
    write_image(tmp_path / "a.png")
    draft = Draft(tmp_path / "a.png", tmp_path / "a.xml", None, boxes, np.zeros(len(boxes), dtype=np.int64), "train")
    assemble([draft], VOC, ("cat",), faults)
    check_mended_share(faults)
    return faults


@pytest.mark.parametrize(("limit", "refused"), [(0.49, True), (0.5, False)])
def test_share_of_mended_boxes(limit: float, refused: bool, tmp_path: Path) -> None:
    boxes = np.array([[10, 10, 40, 40], [50, 50, 50, 60], [20, 20, 60, 60], [70, 70, 60, 60]], dtype=np.float64)
    faults = assembled(tmp_path, boxes, limit)
    expected = [
        f"2 of 4 boxes (50%) would have to be mended (1 boxes have no size, or are outside of their image: dropped; "
        f"1 boxes have their corners exchanged: sorted), more than {limit:.0%}: perhaps the labels are written by "
        "another convention, or belong to other images (the first is in a.xml: box 2 (cat 50 50 50 60 px) has no size: "
        "dropped)"
    ]
    assert [fault.what for fault in faults.fatal] == (expected if refused else [])


def test_slight_mends_do_not_count(tmp_path: Path) -> None:
    boxes = np.array([[10, 10, WIDTH + 1, 40], [20, 20, 60, 60]], dtype=np.float64)
    assert not assembled(tmp_path, boxes, 0.2).fatal
    assert assembled(tmp_path, boxes + [[0, 0, 9, 0]] * 2, 0.2).fatal


def labels_of_other_sizes(tmp_path: Path, count: int) -> Faults:
    faults = Faults(tmp_path)
    drafts = []
    for index in range(6):
        write_image(tmp_path / f"{index}.png")
        size_wh = (200, 160) if index < count else (100, 80)
        boxes = np.array([[1, 1, 20, 20]], dtype=np.float64)
        label = tmp_path / f"{index}.xml"
        drafts.append(Draft(tmp_path / f"{index}.png", label, size_wh, boxes, np.zeros(1, dtype=np.int64), None))
    assemble(drafts, VOC, ("cat",), faults)
    return faults


def test_labels_of_another_resolution_are_one_fault(tmp_path: Path) -> None:
    (fault,) = labels_of_other_sizes(tmp_path, 5).fatal
    assert "5 of 6 labels, with 5 of 6 boxes (83%), are of another resolution than their image" in fault.what
    assert len(labels_of_other_sizes(tmp_path, 2).fatal) == 2


def test_a_convention_explains_the_mends(tmp_path: Path) -> None:
    faults = assembled(tmp_path, np.array([[60, 50, 20, 20]] * 5 + [[5, 5, 9, 9]], dtype=np.float64), 0.2)
    (fault,) = faults.fatal
    assert "width and height" in fault.what
    with pytest.raises(UserError, match="export the labels in the expected form, or convert them"):
        faults.end_if_fatal(strict=False)
