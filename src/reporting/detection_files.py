"""The detections of many frames as JSON and as CSV, whole or not at all.

The JSON has the keys of COCO's results, and the names of class and frame. Both files grow with each frame, so a camera
that runs for days fills no memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.deployment.detections import Detections
from src.foundation.atomic import whole_file
from src.reporting.escaping import cell

COLUMNS = ("image", "frame", "class", "class_index", "score", "x", "y", "width", "height")
PX_DIGITS, SCORE_DIGITS = 3, 6
"""More than a float32 of the network holds."""

Add = Callable[[str, int | None, Detections], None]
"""Adds the detections of an image, or of the frame of a video with a number."""


@contextmanager
def detection_files(json_file: Path, csv_file: Path, class_names: Sequence[str]) -> Iterator[Add]:
    """Yield a function that adds detections; the files are there when the block has ended without an exception."""
    with (
        whole_file(json_file) as json_partial,
        whole_file(csv_file) as csv_partial,
        json_partial.open("w", encoding="utf-8") as json_stream,
        csv_partial.open("w", encoding="utf-8", newline="") as csv_stream,
    ):
        table = csv.writer(csv_stream, lineterminator="\n")
        table.writerow(COLUMNS)
        separator = "[\n"

        def add(image: str, frame: int | None, detections: Detections) -> None:
            nonlocal separator
            for entry in _entries(image, frame, detections, class_names):
                json_stream.write(f"{separator}  {json.dumps(entry, ensure_ascii=False)}")
                separator = ",\n"
                kind, index, score = entry["category"], entry["category_id"], entry["score"]
                table.writerow([cell(value) for value in (image, frame, kind, index, score, *entry["bbox"])])

        yield add
        json_stream.write("[]\n" if separator == "[\n" else "\n]\n")


def _entries(
    image: str, frame: int | None, detections: Detections, class_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for (left, top, right, bottom), score, index in zip(
        detections.boxes_xyxy.tolist(), detections.scores.tolist(), detections.classes.tolist(), strict=True
    ):
        yield {
            "image_id": image,
            "frame": frame,
            "category_id": index,
            "category": class_names[index],
            "bbox": [round(value, PX_DIGITS) for value in (left, top, right - left, bottom - top)],
            "score": round(score, SCORE_DIGITS),
        }
