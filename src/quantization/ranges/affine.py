"""The affine grid on which integers stand for real numbers: r = S (q - Z).

S is the scale, a positive real number, and Z the zero point, the integer that stands for 0.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference (arXiv
1712.05877): eq. (1); S is its s(a, b, n) of eq. (12). Rounding Z to an integer is the nudging of section 3.1 that makes
0.0 exactly representable, without which the zeros that pad a convolution would carry an error. The table of ranges has
these; onnxruntime's quantizer computes those of the INT8 graph by the same rule.
"""

from __future__ import annotations

import numpy as np

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
