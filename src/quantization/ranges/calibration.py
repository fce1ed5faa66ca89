"""models/calibration.json: the histogram of every activation, and the range that each calibrator chose for it.

The file has one line per tensor, so that two calibrations can be compared with diff. Stage quantize reads the ranges of
one calibrator and observes no images. Other methods can choose ranges from the histograms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.foundation.atomic import write_text
from src.foundation.digests import digest
from src.foundation.errors import OutdatedError, SettingError
from src.foundation.image_size import ImageSize, as_setting, height_width
from src.quantization.ranges.histogram import Histogram

Range = tuple[float, float]


@dataclass(frozen=True)
class CalibratedTensor:
    """A tensor's histogram, and the range [low, high] that each calibrator chose for it."""

    histogram: Histogram
    ranges: dict[str, Range]


@dataclass(frozen=True)
class Calibration:
    """The ranges of one network's activations.

    Attributes:
        onnx_md5: MD5 of the network's file; the ranges are valid for this network only.
        imgsz: px, size of the input.
        settings: the calibrators' own settings, such as {"percentile": 99.99}.
        images: names of the observed images.
        tensors: by name, in the order of computation.
    """

    onnx_md5: str
    imgsz: ImageSize
    settings: dict[str, float]
    images: tuple[str, ...]
    tensors: dict[str, CalibratedTensor]

    def ranges(self, calibrator: str) -> dict[str, Range]:
        """Return (low, high) by tensor, as `calibrator` chose them."""
        return {name: tensor.ranges[calibrator] for name, tensor in self.tensors.items()}


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write `calibration` atomically. The same calibration gives the same bytes."""
    head = {
        "onnx_md5": calibration.onnx_md5,
        "imgsz": as_setting(calibration.imgsz),
        "settings": calibration.settings,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    lines += ['"images": [', _joined(json.dumps(name) for name in calibration.images), "],"]
    rows = (f"{json.dumps(name)}: {json.dumps(_row(tensor))}" for name, tensor in calibration.tensors.items())
    lines += ['"tensors": {', _joined(rows), "}"]
    write_text(path, "{\n" + "\n".join(lines) + "\n}\n")


def read_calibration(path: Path, onnx_path: Path, imgsz: ImageSize) -> Calibration:
    """Read the calibration of the network in `onnx_path`.

    Raises:
        OutdatedError: the file is not a calibration, or belongs to another network.
        SettingError: it was made for another image size.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tensors = {name: _tensor(row) for name, row in content["tensors"].items()}
        calibration = Calibration(
            content["onnx_md5"], content["imgsz"], content["settings"], tuple(content["images"]), tensors
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OutdatedError(path, f"not a calibration ({error!r})") from error
    found = digest(onnx_path)
    if calibration.onnx_md5 != found:
        raise OutdatedError(
            path,
            f"expected the ranges of {onnx_path.name} (md5 {found}), found the ranges of another network "
            f"(md5 {calibration.onnx_md5})",
        )
    if height_width(calibration.imgsz) != height_width(imgsz):
        raise SettingError(
            "imgsz", f"must be {calibration.imgsz}, as {onnx_path.name} was exported for it, got {as_setting(imgsz)}"
        )
    return calibration


def _joined(rows: Iterable[str]) -> str:
    return ",\n".join(rows)


def _row(tensor: CalibratedTensor) -> dict[str, Any]:
    return {
        "min": shortest_float32(tensor.histogram.least),
        "max": shortest_float32(tensor.histogram.greatest),
        "ranges": {
            name: [shortest_float32(low), shortest_float32(high)] for name, (low, high) in tensor.ranges.items()
        },
        "counts": tensor.histogram.counts.tolist(),
    }


def _tensor(row: dict[str, Any]) -> CalibratedTensor:
    counts = np.array(row["counts"], dtype=np.int64)
    ranges = {name: (float(low), float(high)) for name, (low, high) in row["ranges"].items()}
    return CalibratedTensor(Histogram(row["min"], row["max"], counts), ranges)


def shortest_float32(value: float) -> float:
    """Return the number with the fewest decimal digits that is the same float32. Activations have no more digits.

    >>> shortest_float32(0.10000000149011612)
    0.1
    """
    return float(str(np.float32(value)))
