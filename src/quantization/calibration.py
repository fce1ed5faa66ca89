"""models/calibration.json: what was observed, the range chosen for each tensor, and the grid that follows from it.

A line per tensor, so that two calibrations can be compared with diff. The histograms stay in the file: another method
can choose other ranges from them without running the network again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import UserError
from src.files import digest, write_text
from src.quantization.affine import scale_and_zero_point
from src.quantization.histogram import Histogram


@dataclass(frozen=True)
class TensorRange:
    """A tensor's histogram and the range [low, high] that was chosen from it."""

    histogram: Histogram
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """The ranges of one network's activations.

    Attributes:
        onnx_md5: of the network's file; the ranges hold for this one alone.
        imgsz: px, side of the square input.
        method: which chose the ranges, with its parameters, such as {"name": "percentile", "percentile": 99.99}.
        images: names of the images observed.
        tensors: by name, in the order of computation.
    """

    onnx_md5: str
    imgsz: int
    method: dict[str, Any]
    images: tuple[str, ...]
    tensors: dict[str, TensorRange]

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """(low, high) by tensor."""
        return {name: (tensor.low, tensor.high) for name, tensor in self.tensors.items()}


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write `calibration`, whole or not at all; the same calibration gives the same bytes."""
    head = {
        "onnx_md5": calibration.onnx_md5,
        "imgsz": calibration.imgsz,
        "method": calibration.method,
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
            content["onnx_md5"], content["imgsz"], content["method"], tuple(content["images"]), tensors
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


def _joined(rows: Iterable[str]) -> str:
    return ",\n".join(rows)


def _row(tensor: TensorRange) -> dict[str, Any]:
    scale, zero_point = scale_and_zero_point(_float32(tensor.low), _float32(tensor.high))
    return {
        "min": _float32(tensor.histogram.least),
        "max": _float32(tensor.histogram.greatest),
        "low": _float32(tensor.low),
        "high": _float32(tensor.high),
        "scale": _float32(scale),
        "zero_point": zero_point,
        "counts": tensor.histogram.counts.tolist(),
    }


def _tensor(row: dict[str, Any]) -> TensorRange:
    counts = np.array(row["counts"], dtype=np.int64)
    return TensorRange(Histogram(row["min"], row["max"], counts), row["low"], row["high"])


def _float32(value: float) -> float:
    """Return the shortest decimal that is the same float32: activations have no more digits than that."""
    return float(str(np.float32(value)))
