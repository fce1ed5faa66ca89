"""The facts that go with a file: what it takes, what it returns, how good it is. They are the same on every run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from src.delivery.integer_graph import LEVELS
from src.delivery.measuring import MeanPrecision
from src.delivery.opened import End, Opened
from src.delivery.target import Target
from src.deployment.letterbox import PADDING
from src.evaluation.agreement import Agreement, summarize
from src.foundation.digests import digest
from src.foundation.image_size import ImageSize, height_width

MIB = 2**20
COLOURS = 3
LICENCE = "AGPL-3.0"
"""Of this project and of ultralytics, on which the network is built."""


@dataclass(frozen=True)
class Measured:
    """A file with what was measured of it on val.

    Attributes:
        file: where it lies.
        opened: read back.
        accuracy: its own.
        fp32: that of the network in float.
        agreement: of its detections with those of the network in float, by the names of images.
        beside: further files that belong to it.
    """

    file: Path
    opened: Opened
    accuracy: MeanPrecision
    fp32: MeanPrecision
    agreement: dict[str, Agreement]
    beside: tuple[Path, ...] = ()

    @property
    def drop(self) -> float:
        """The loss of mAP50-95 against float."""
        return round(self.fp32.map50_95 - self.accuracy.map50_95, 6)

    @property
    def size_mib(self) -> float:
        """The size of the file, with those beside it."""
        return round(sum(file.stat().st_size for file in (self.file, *self.beside)) / MIB, 4)

    def metrics(self) -> dict[str, Any]:
        """Return the figures, as they are recorded."""
        return {
            "val": asdict(self.accuracy),
            "drop": self.drop,
            "agreement": summarize(self.agreement),
            "size_mib": self.size_mib,
        }


def facts_of(
    name: str, target: Target, measured: Measured, names: Sequence[str], imgsz: ImageSize, made_from: dict[str, str]
) -> dict[str, Any]:
    """Return the facts of a file.

    Args:
        name: of the target.
        target: the target.
        measured: the file.
        names: of its classes.
        imgsz: px, size of its input.
        made_from: the md5 of each file that it was made from, by name.
    """
    levels = _levels(measured.file)
    return {
        "target": name,
        "file": measured.file.name,
        "md5": digest(measured.file),
        **({"beside": [_beside(file) for file in measured.beside]} if measured.beside else {}),
        "size_mib": measured.size_mib,
        "for": target.suits,
        "licence": LICENCE,
        "classes": list(names),
        "input": _input(measured.opened.input, imgsz),
        "outputs": [_end(one) for one in measured.opened.outputs],
        **({"levels": levels} if levels else {}),
        "reading": target.reading,
        "measured": {
            "split": "val",
            "images": len(measured.agreement),
            "runtime": target.runtime,
            "map50_95": measured.accuracy.map50_95,
            "map50": measured.accuracy.map50,
            "fp32_map50_95": measured.fp32.map50_95,
            "fp32_map50": measured.fp32.map50,
            "drop": measured.drop,
        },
        "agreement": summarize(measured.agreement),
        "made_from": made_from,
    }


def _input(entry: End, imgsz: ImageSize) -> dict[str, Any]:
    height, width = height_width(imgsz)
    return {
        **_end(entry),
        "layout": "NHWC" if entry.shape[-1] == COLOURS else "NCHW"[-len(entry.shape) :],
        "colours": "RGB",
        "scaling": "pixels 0 to 255 as they are" if entry.type == "uint8" else "pixels divided by 255",
        "letterbox": (
            f"the image is scaled (bilinear) until it is {width} px wide or {height} px high; the rest is grey "
            f"{PADDING}, half on either side"
        ),
    }


def _beside(file: Path) -> dict[str, Any]:
    return {"file": file.name, "md5": digest(file)}


def _end(end: End) -> dict[str, Any]:
    return {"name": end.name, "shape": list(end.shape), "type": end.type}


def _levels(file: Path) -> list[dict[str, Any]]:
    """Return the levels of an integer graph; none for another file."""
    if file.suffix != ".onnx":
        return []
    entries = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    return list(json.loads(entries.get(LEVELS, "[]")))
