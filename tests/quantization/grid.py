"""A reference implementation of the affine grid r = S (q - Z): S and Z of a range, and quantizing (arXiv 1712.05877,
eq. 1 and 12).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UINT8 = (0, 255)
INT8 = (-128, 127)


def scale_and_zero_point(low: float, high: float, q_min: int = UINT8[0], q_max: int = UINT8[1]) -> tuple[float, int]:
    """Return S and Z of the grid whose `q_max - q_min` steps span `low` to `high`.

    A range without width (all activations were 0) gets S = 1 and Z = 0, as in onnxruntime: any grid represents zero.

    Args:
        low: least real value to represent, <= 0.
        high: greatest real value to represent, >= 0.
        q_min: least integer.
        q_max: greatest integer.

    Returns:
        S, > 0, rounded to float32 as ONNX stores it, and Z, in [q_min, q_max].

    Raises:
        ValueError: zero is not in [low, high], or one of them is not finite.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low <= 0 <= high):
        raise ValueError(f"a range must be finite and hold zero, got [{low}, {high}]")
    scale = (high - low) / (q_max - q_min)
    if scale < np.finfo(np.float32).tiny:
        return 1.0, 0
    zero_point = int(np.round(q_min - low / scale))
    return float(np.float32(scale)), min(max(zero_point, q_min), q_max)


def quantize(
    r: NDArray[np.floating], scale: float, zero_point: int, q_min: int = UINT8[0], q_max: int = UINT8[1]
) -> NDArray[np.int64]:
    """Return the integers nearest to the real numbers `r` (any shape), clamped to [q_min, q_max]."""
    q: NDArray[np.int64] = np.clip(np.round(r / scale) + zero_point, q_min, q_max).astype(np.int64)
    return q


def dequantize(q: NDArray[np.integer], scale: float, zero_point: int) -> NDArray[np.float64]:
    """Return the real numbers that the integers `q` (any shape) represent: eq. (1)."""
    r: NDArray[np.float64] = scale * (q.astype(np.float64) - zero_point)
    return r
