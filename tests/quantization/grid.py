"""The affine grid by hand: what integers quantize and dequantize to (arXiv 1712.05877, eq. 1 and 12)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.quantization.ranges.affine import UINT8


def quantize(
    r: NDArray[np.floating], scale: float, zero_point: int, q_min: int = UINT8[0], q_max: int = UINT8[1]
) -> NDArray[np.int64]:
    """Return the integers nearest to the real numbers `r` (any shape), clamped to [q_min, q_max]."""
    q: NDArray[np.int64] = np.clip(np.round(r / scale) + zero_point, q_min, q_max).astype(np.int64)
    return q


def dequantize(q: NDArray[np.integer], scale: float, zero_point: int) -> NDArray[np.float64]:
    """Return the real numbers that the integers `q` (any shape) stand for: eq. (1)."""
    r: NDArray[np.float64] = scale * (q.astype(np.float64) - zero_point)
    return r
