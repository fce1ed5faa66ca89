"""The table of the ranges that the calibrators chose."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import numpy as np
from onnxruntime.quantization.quant_utils import compute_scale_zp

from src.foundation.atomic import write_text
from src.quantization.ranges.calibration import Calibration, shortest_float32
from src.quantization.ranges.histogram import share_outside

UINT8 = (np.array(0, dtype=np.uint8), np.array(255, dtype=np.uint8))
"""The least and the greatest uint8, as arguments of onnxruntime's `compute_scale_zp`."""

COLUMNS = ("tensor", "calibrator", "low", "high", "scale", "zero_point", "clipped_share")


def write_ranges(calibration: Calibration, path: Path) -> None:
    """Write a CSV with a row per tensor and calibrator: range, scale, zero point (uint8), share of clipped values."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, tensor in calibration.tensors.items():
        for calibrator, bounds in tensor.ranges.items():
            low, high = map(shortest_float32, bounds)
            zero_point, scale = compute_scale_zp(np.float32(low), np.float32(high), *UINT8)
            clipped = round(share_outside(tensor.histogram, *bounds), 8)
            table.writerow([name, calibrator, low, high, shortest_float32(scale), int(zero_point), clipped])
    write_text(path, text.getvalue())
