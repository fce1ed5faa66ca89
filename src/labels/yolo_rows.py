"""The rows of YOLO label files: class x_center y_center width height, as fractions; or a polygon x1 y1 x2 y2 ..."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.labels.conventions import EXPORT_AGAIN, YOLO
from src.labels.faults import Faults, shown
from src.labels.folders import finite
from src.labels.polygons import FEWEST_NUMBERS, box_of

COLUMNS = ("class", "x_center", "y_center", "width", "height")
LARGEST_FRACTION = 2.0  # a box may cross the edge, but a value above twice the image's side is in pixels
WITH_CONFIDENCE = 6  # columns: what a detector predicts has its confidence at the end


@dataclass
class Rows:
    """Reads label files; `end` adds the faults that depend on all of them.

    Attributes:
        names: of the classes, by index.
        keypoints: rows have keypoints behind the box, so a long row is no polygon.
        faults: collects faults and mends.
    """

    names: Sequence[str]
    keypoints: bool
    faults: Faults
    _count: int = 0
    _in_pixels: list[tuple[Path, str]] = field(default_factory=list)

    def read(self, label: Path, text: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return (N, 4) x_center, y_center, width, height as fractions, and (N,) the classes of a label file."""
        boxes: list[list[float]] = []
        classes: list[int] = []
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            self._count += 1
            where = f"line {number}"
            if not self._has_known_columns(words, label, where):
                continue
            index = self._class_of(words[0], label, where)
            box = self._box(words[1:], label, where)
            if index is not None and box is not None:
                boxes.append(box)
                classes.append(index)
        return np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(classes, dtype=np.int64)

    def end(self) -> None:
        """Add a fault per row in pixels; one for the dataset if most rows are."""
        rows = len(self._in_pixels)
        if rows > 1 and 2 * rows > self._count:
            first, what = self._in_pixels[0]
            share = f"{rows} of {self._count} boxes ({rows / self._count:.0%})"
            seems = f"have a number above {LARGEST_FRACTION:g}: they seem to be pixels or percent, not fractions"
            first_row = f"(the first is {self.faults.name(first)}: {what})"
            self.faults.add(self.faults.root, f"{share} {seems}; expected {YOLO.expected} {first_row}", EXPORT_AGAIN)
        else:
            for label, what in self._in_pixels:
                self.faults.add(label, what, "divide pixels by the image's width or height")

    def _has_known_columns(self, words: Sequence[str], label: Path, where: str) -> bool:
        polygon = len(words) > FEWEST_NUMBERS and len(words) % 2 == 1 and not self.keypoints
        if len(words) == len(COLUMNS) or polygon:
            return True
        advice = "correct the line"
        if len(words) == WITH_CONFIDENCE:
            advice = "remove the last column if it is a confidence"
        elif self.keypoints:
            advice = "remove the keypoints, and kpt_shape from data.yaml"
        elif len(words) == 1 and "," in words[0]:
            advice = "separate the columns by spaces, not by commas"
        what = f"{where}: expected 5 columns ({' '.join(COLUMNS)}) or a polygon, found {len(words)}"
        self.faults.add(label, what, advice)
        return False

    def _class_of(self, word: str, label: Path, where: str) -> int | None:
        index = int(float(word)) if re.fullmatch(r"[+-]?[0-9]{1,9}(\.0*)?", word, re.ASCII) else None
        if index is None:
            self.faults.add(label, f"{where}: class {shown(word)} is not a whole number", "correct the line")
        elif not 0 <= index < len(self.names):
            if self.names:
                what = f"{where}: class index {index} is out of range 0 to {len(self.names) - 1}"
                self.faults.add(label, what, "correct the line, or names in data.yaml")
            index = None
        return index

    def _box(self, words: Sequence[str], label: Path, where: str) -> list[float] | None:
        columns = COLUMNS[1:] if len(words) == len(COLUMNS) - 1 else [f"number {i + 2}" for i in range(len(words))]
        numbers = [finite(word) for word in words]
        for column, word, value in zip(columns, words, numbers, strict=True):
            if value is None:
                self.faults.add(label, f"{where}: {column} {shown(word)} is not a finite number", "correct the line")
        if None in numbers:
            return None
        values = [value for value in numbers if value is not None]
        largest = max(range(len(values)), key=lambda index: abs(values[index]) > LARGEST_FRACTION)
        if abs(values[largest]) > LARGEST_FRACTION:
            what = f"{where}: {columns[largest]} {words[largest]} is not a fraction of the image's side"
            self._in_pixels.append((label, what))
            return None
        if len(values) == len(COLUMNS) - 1:
            return values
        self.faults.mended(label, "polygon", f"{where} is a polygon: its box is taken", slight=True)
        left, top, right, bottom = box_of(values) or [0, 0, 0, 0]
        return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
