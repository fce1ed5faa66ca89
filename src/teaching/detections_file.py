"""Read the detections that other detectors wrote, in the form of COCO's results, for the images of the dataset.

What the ids in a results file (src/teaching/results_files.py) mean is told by a COCO file in the same folder (its
`images` and `categories`), by the entry itself (`image_id` as file name, `category` as name), or by the setting
`classes`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from ultralytics.data.utils import exif_size

from src.labels.conventions import COCO, EXPORT_AGAIN, LEAST_SHARE, check_convention
from src.labels.faults import Faults, counted, shown
from src.labels.folders import finite
from src.teaching.box_fusion import Found
from src.teaching.image_names import ImageNames
from src.teaching.results_files import Meanings, id_of, results_below

LARGEST_SHARE_WITHOUT_SIZE = 0.2
"""Of a file's boxes; above it they are refused."""

BELOW, OTHER_CLASS, OTHER_IMAGE, HELD_OUT, NO_SIZE = (
    "below_min_score",
    "of_other_classes",
    "of_other_images",
    "of_val_or_test",
    "without_size",
)
LEFT_OUT = (BELOW, OTHER_CLASS, OTHER_IMAGE, HELD_OUT, NO_SIZE)
"""Why a detection that is no fault is left out: the names of their numbers."""

_Entry = Mapping[str, Any]


@dataclass
class Detections:
    """What was read.

    Attributes:
        found: the detections of each image that has some.
        left_out: number of detections that are left out, by reason.
        unknown_classes: number of detections of each class that the dataset does not have, by name.
        files: number of results files.
        clipped: number of boxes that crossed the edge of their image.
    """

    found: dict[Path, Found] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    unknown_classes: Counter[str] = field(default_factory=Counter)
    files: int = 0
    clipped: int = 0

    def counts(self) -> dict[str, int]:
        """Return the numbers of files, of detections that are left out, and of clipped boxes, by name."""
        return {"files": self.files, "clipped": self.clipped, **{why: self.left_out[why] for why in LEFT_OUT}}


@dataclass(frozen=True)
class Wanted:
    """What is read of the files.

    Attributes:
        images: the training images.
        held_out: the images of val and test.
        class_names: of the dataset, by index.
        classes: the name of a class for an id or a name in the files; others are found by their own name.
        min_score: entries with a lower score are left out.
    """

    images: Sequence[Path]
    held_out: Sequence[Path]
    class_names: Sequence[str]
    classes: Mapping[str, str]
    min_score: float


@dataclass
class _Rows:
    """The entries that are used, one list per column."""

    images: list[Path] = field(default_factory=list)
    written: list[list[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def read_detections(folder: Path, wanted: Wanted) -> Detections:
    """Return the detections of all files below a folder.

    Boxes over the edge of their image are clipped; those without size are dropped.

    Args:
        folder: of the JSON files.
        wanted: which images, classes and scores.

    Raises:
        UserError: there is no file, a file cannot be read, an entry is broken, its image or class is not told or fits
            several, boxes are written by another convention, or no detection is of a training image. The message has
            one line for each kind of fault of a file.
    """
    faults = Faults(folder, "teaching.files")
    detections, rows = Detections(), _Rows()
    for name in sorted(set(wanted.classes.values()) - set(wanted.class_names)):
        what = f"teaching.classes: {shown(name)} is no class of the dataset"
        faults.add(folder, what, f"write one of {', '.join(wanted.class_names)}")
    names = ImageNames([*wanted.images, *wanted.held_out])
    held_out = frozenset(wanted.held_out)
    for path, entries, meanings in results_below(folder, faults):
        detections.files += 1
        reader = _Reader(path, meanings, names, held_out, wanted, faults)
        reader.read(entries, detections, rows)
    boxes, kept = _boxes(rows, detections, faults)
    if not faults.fatal and not kept.any():
        left_out = {why.replace("_", " "): count for why, count in detections.left_out.items() if count}
        reasons = "; ".join(f"{count} {why}" for why, count in left_out.items())
        what = f"no detection is of a training image and a class of the dataset ({reasons or 'the files are empty'})"
        faults.add(folder, what, _advice(detections, wanted))
    faults.end_if_fatal(strict=False)
    detections.found = _by_image(rows, boxes, kept)
    return detections


def _advice(detections: Detections, wanted: Wanted) -> str:
    if detections.unknown_classes:
        names = ", ".join(shown(name) for name, _ in detections.unknown_classes.most_common(3))
        return (
            f"map their classes ({names}) to those of the dataset ({', '.join(wanted.class_names)}): teaching.classes"
        )
    return "run the detector on the training images, or lower teaching.min_score"


class _Reader:
    """Reads the entries of one results file. Faults of one kind become one line, with their number and the first."""

    def __init__(
        self,
        path: Path,
        meanings: Meanings,
        names: ImageNames,
        held_out: frozenset[Path],
        wanted: Wanted,
        faults: Faults,
    ) -> None:
        self._path, self._meanings, self._names = path, meanings, names
        self._held_out, self._wanted, self._faults = held_out, wanted, faults
        self._wrong: dict[str, list[str]] = defaultdict(list)
        self._index_of = {name: index for index, name in enumerate(wanted.class_names)}
        folded = Counter(name.casefold() for name in wanted.class_names)
        self._index_of_folded = {
            name.casefold(): index for name, index in self._index_of.items() if folded[name.casefold()] == 1
        }

    def read(self, entries: Sequence[Any], detections: Detections, rows: _Rows) -> None:
        """Add the entries to `rows`, and count those that are left out."""
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                self._add("expected an object with image_id, category_id, bbox and score", index, entry)
                continue
            self._read_entry(index, entry, detections, rows)
        for what_and_advice, found in self._wrong.items():
            what, _, advice = what_and_advice.partition(" -> ")
            self._faults.add(self._path, f"{counted(len(found), 'detection')}: {what}; the first: {found[0]}", advice)

    def _add(self, what: str, index: int, value: object, advice: str = "export the detections again") -> None:
        self._wrong[f"{what} -> {advice}"].append(f"[{index}] has {shown(value)}")

    def _read_entry(self, index: int, entry: _Entry, detections: Detections, rows: _Rows) -> None:
        score, box = self._score(index, entry), self._box(index, entry)
        label, image = self._class(index, entry), self._image(index, entry)
        if score is None or box is None or label is None or image is None:
            return
        reason = None
        if score < self._wanted.min_score:
            reason = BELOW
        elif isinstance(label, str):
            reason = OTHER_CLASS
            detections.unknown_classes[label] += 1
        elif isinstance(image, str):
            reason = image
        else:
            rows.images.append(image)
            rows.written.append(box)
            rows.scores.append(score)
            rows.classes.append(label)
            rows.files.append(self._path)
        if reason is not None:
            detections.left_out[reason] += 1

    def _score(self, index: int, entry: _Entry) -> float | None:
        score = finite(entry.get("score"))
        if score is None or not 0 <= score <= 1:
            self._add("score: expected a number in [0, 1]", index, entry.get("score"))
            return None
        return score

    def _box(self, index: int, entry: _Entry) -> list[float] | None:
        box = entry.get("bbox")
        numbers = [finite(value) for value in box] if isinstance(box, list) and len(box) == 4 else [None]
        if None in numbers:
            self._add("bbox: expected [x, y, width, height], px", index, box)
            return None
        return [number for number in numbers if number is not None]

    def _class(self, index: int, entry: _Entry) -> int | str | None:
        """Return the index of a class; its name if the dataset does not have it; None after a fault."""
        given = id_of(entry.get("category_id"))
        name = self._meanings.categories.get(given or "") or id_of(entry.get("category"))
        known = (self._wanted.classes.get(key) for key in (given, name) if key is not None)
        mapped = next((to for to in known if to is not None), name)
        if mapped is None:
            advice = "put the COCO file with its categories beside it, or set teaching.classes"
            self._add("category_id: nothing tells its class", index, entry.get("category_id"), advice)
            return None
        found = self._index_of.get(mapped, self._index_of_folded.get(mapped.casefold()))
        return mapped if found is None else found

    def _image(self, index: int, entry: _Entry) -> Path | str | None:
        """Return a training image; the reason why it is left out; None after a fault."""
        given = id_of(entry.get("image_id"))
        if given is None:
            self._add("image_id: expected an id or the name of an image", index, entry.get("image_id"))
            return None
        name = self._meanings.images.get(given)
        if name is None and isinstance(entry["image_id"], (int, float)):
            advice = "put the COCO file with its images beside it, or write file names as image_id"
            self._add("image_id: nothing tells the image of this number", index, given, advice)
            return None
        fitting = self._names.find(name or given)
        if len(fitting) > 1:
            advice = "write more of its path"
            self._add(f"image_id: fits {len(fitting)} images of the dataset", index, name or given, advice)
            return None
        if not fitting:
            return OTHER_IMAGE
        return HELD_OUT if fitting[0] in self._held_out else fitting[0]


def _boxes(rows: _Rows, detections: Detections, faults: Faults) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the corners of all boxes within their images, (N, 4), px, and which have a size, (N,)."""
    size_of = {image: _size_wh(image) for image in dict.fromkeys(rows.images)}
    sizes_wh = np.array([size_of[image] for image in rows.images], dtype=np.float64).reshape(-1, 2)
    written = np.array(rows.written, dtype=np.float64).reshape(-1, 4)
    corners = COCO.to_corners(written)
    clipped = np.clip(corners, 0, np.tile(sizes_wh, 2))
    has_size: NDArray[np.bool_] = np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
    files = np.array([path.as_posix() for path in rows.files])
    within_a_pixel = np.all(np.abs(written) <= 1, axis=1)
    for path in dict.fromkeys(rows.files):
        own = files == path.as_posix()
        before = len(faults.fatal)
        # No label means such a box, but a detector may: only many of them are fractions.
        means_it = own & within_a_pixel if within_a_pixel[own].mean() < LEAST_SHARE else np.zeros_like(own)
        checked = own & ~means_it
        check_convention(COCO, written[checked], sizes_wh[checked], [path] * int(checked.sum()), faults)
        share = float((~has_size[own]).mean())
        if len(faults.fatal) == before and share > LARGEST_SHARE_WITHOUT_SIZE:
            first = rows.written[int(np.flatnonzero(own & ~has_size)[0])]
            what = f"{share:.0%} of the boxes have no size within their image; the first: bbox {shown(first)}"
            faults.add(path, f"{what}; expected {COCO.expected}", EXPORT_AGAIN)
    detections.left_out[NO_SIZE] += int((~has_size).sum())
    detections.clipped = int((np.any(clipped != corners, axis=1) & has_size).sum())
    return clipped, has_size


def _size_wh(image: Path) -> tuple[int, int]:
    """Return the size of an image as training sees it."""
    with Image.open(image) as opened:
        width, height = exif_size(opened)
    return width, height


def _by_image(rows: _Rows, boxes: NDArray[np.float64], kept: NDArray[np.bool_]) -> dict[Path, Found]:
    """Return the detections of each image, in the order of the files and their entries."""
    detector_of = {path: index for index, path in enumerate(dict.fromkeys(rows.files))}
    indices: dict[Path, list[int]] = defaultdict(list)
    for index in np.flatnonzero(kept).tolist():
        indices[rows.images[index]].append(index)
    scores, classes = np.array(rows.scores), np.array(rows.classes, dtype=np.int64)
    detectors = np.array([detector_of[path] for path in rows.files], dtype=np.int64)
    return {
        image: Found(boxes[of_image], scores[of_image], classes[of_image], detectors[of_image])
        for image, of_image in indices.items()
    }
