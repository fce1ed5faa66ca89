"""models/calibration.json: what was observed, the ranges that every calibrator chose, and the grids that follow.

A line per tensor, so that two calibrations can be compared with diff. Whoever quantizes picks a calibrator; nothing is
observed again. The histograms stay in the file: another method can choose other ranges from them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from src.foundation.atomic import write_text
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.quantization.affine import scale_and_zero_point
from src.quantization.ranges.histogram import Histogram, share_outside

Range = tuple[float, float]


@dataclass(frozen=True)
class Calibrated:
    """A tensor's histogram, and the range [low, high] that each calibrator chose for it."""

    histogram: Histogram
    ranges: dict[str, Range]


@dataclass(frozen=True)
class Calibration:
    """The ranges of one network's activations.

    Attributes:
        onnx_md5: of the network's file; the ranges hold for this one alone.
        imgsz: px, side of the square input.
        settings: of the calibrators that have any, such as {"percentile": 99.99}.
        images: names of the images observed.
        tensors: by name, in the order of computation.
    """

    onnx_md5: str
    imgsz: int
    settings: dict[str, float]
    images: tuple[str, ...]
    tensors: dict[str, Calibrated]

    def ranges(self, calibrator: str) -> dict[str, Range]:
        """Return (low, high) by tensor, as `calibrator` chose them."""
        return {name: tensor.ranges[calibrator] for name, tensor in self.tensors.items()}


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write `calibration`, whole or not at all; the same calibration gives the same bytes."""
    head = {
        "onnx_md5": calibration.onnx_md5,
        "imgsz": calibration.imgsz,
        "settings": calibration.settings,
        "grid": "uint8, asymmetric",
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    lines += ['"images": [', _joined(json.dumps(name) for name in calibration.images), "],"]
    rows = (f"{json.dumps(name)}: {json.dumps(_row(tensor))}" for name, tensor in calibration.tensors.items())
    lines += ['"tensors": {', _joined(rows), "}"]
    write_text(path, "{\n" + "\n".join(lines) + "\n}\n")


def read_calibration(path: Path, onnx_path: Path, imgsz: int) -> Calibration:
    """Read the calibration of the network in `onnx_path`.

    Raises:
        UserError: the file is no calibration, or that of another network or image size.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tensors = {name: _tensor(row) for name, row in content["tensors"].items()}
        calibration = Calibration(
            content["onnx_md5"], content["imgsz"], content["settings"], tuple(content["images"]), tensors
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected what calibrate writes, found {error!r}: run `dvc repro calibrate`"
        ) from error
    found = digest(onnx_path)
    if calibration.onnx_md5 != found:
        raise UserError(
            f"{path}: expected the ranges of {onnx_path.name} (md5 {found}), found those of another network "
            f"(md5 {calibration.onnx_md5}): run `dvc repro calibrate`"
        )
    if calibration.imgsz != imgsz:
        raise UserError(
            f"imgsz must be {calibration.imgsz}, for which {onnx_path.name} was exported, got {imgsz}: "
            "run `dvc repro calibrate`, or leave imgsz as it is"
        )
    return calibration


def write_ranges(calibration: Calibration, path: Path) -> None:
    """Write a table of every tensor's range, S, Z and share of values cut off, a row per tensor and calibrator."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["tensor", "calibrator", "low", "high", "scale", "zero_point", "clipped_share"])
    for name, tensor in calibration.tensors.items():
        for calibrator, (low, high) in tensor.ranges.items():
            clipped = round(share_outside(tensor.histogram, low, high), 8)
            table.writerow([name, calibrator, *_grid(low, high).values(), clipped])
    write_text(path, text.getvalue())


def _joined(rows: Iterable[str]) -> str:
    return ",\n".join(rows)


def _row(tensor: Calibrated) -> dict[str, Any]:
    return {
        "min": _float32(tensor.histogram.least),
        "max": _float32(tensor.histogram.greatest),
        "ranges": {calibrator: _grid(*bounds) for calibrator, bounds in tensor.ranges.items()},
        "counts": tensor.histogram.counts.tolist(),
    }


def _grid(low: float, high: float) -> dict[str, Any]:
    scale, zero_point = scale_and_zero_point(_float32(low), _float32(high))
    return {"low": _float32(low), "high": _float32(high), "scale": _float32(scale), "zero_point": zero_point}


def _tensor(row: dict[str, Any]) -> Calibrated:
    counts = np.array(row["counts"], dtype=np.int64)
    ranges = {calibrator: (grid["low"], grid["high"]) for calibrator, grid in row["ranges"].items()}
    return Calibrated(Histogram(row["min"], row["max"], counts), ranges)


def _float32(value: float) -> float:
    """Return the shortest decimal that is the same float32: activations have no more digits than that."""
    return float(str(np.float32(value)))
