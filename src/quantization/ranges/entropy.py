"""The entropy calibrator: the range whose clipped and quantized histogram loses the least information.

Migacz, 8-bit Inference with TensorRT (GTC 2017, the slides on calibration). P is the histogram clipped at a threshold;
the counts beyond it are added to the outermost bins. Q is the same histogram without these counts: its bins are merged
into as many levels as the grid has, and each level is spread again over its bins that are not empty. The threshold with
the least divergence KL(P || Q) is chosen. Migacz clips absolute values. Here [-t, t] is cut down to the observed range,
as in onnxruntime, because an activation such as SiLU's reaches far to one side only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.quantization.ranges.histogram import Histogram

LEVELS = 128
"""Number of levels of Q, as in Migacz and onnxruntime: eight signed bits have 128 on either side of zero."""

CANDIDATES = 128
"""Number of thresholds that are tried, evenly spaced up to the whole range."""

EMPTY = 1e-4
"""An empty bin of Q gets this mass over the number of bins, so that P / Q stays finite, as in onnxruntime."""


def entropy_range(histogram: Histogram) -> tuple[float, float]:
    """Return (low, high): edges of bins, widened to include zero.

    Raises:
        ValueError: the histogram is empty.
    """
    if histogram.counts.sum() == 0:
        raise ValueError("a histogram without values has no entropy")
    edges = histogram.edges
    low, high = min(histogram.least, 0.0), max(histogram.greatest, 0.0)
    if low == high:
        return low, high
    farthest = max(-low, high)
    best, least = (low, high), np.inf
    for threshold in farthest * np.arange(1, CANDIDATES + 1) / CANDIDATES:
        kept = np.flatnonzero((edges[:-1] >= -threshold - 1e-12) & (edges[1:] <= threshold + 1e-12))
        if len(kept) < LEVELS or histogram.counts[kept].sum() == 0:
            continue
        divergence = _divergence(histogram.counts, int(kept[0]), int(kept[-1]) + 1)
        if divergence < least:
            best, least = (min(float(edges[kept[0]]), 0.0), max(float(edges[kept[-1] + 1]), 0.0)), divergence
    return best


def _divergence(counts: NDArray[np.int64], first: int, end: int) -> float:
    """Return KL(P || Q), nats, of the bins from `first` to before `end`."""
    inside = counts[first:end].astype(np.float64)
    p = inside.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[end:].sum()
    filled = p > 0
    level = np.arange(len(inside)) * LEVELS // len(inside)
    mass = np.bincount(level, inside, LEVELS)
    spread = np.bincount(level, filled, LEVELS)
    q = np.where(filled, mass[level] / np.maximum(spread[level], 1), 0)
    p, q = p[filled] / p.sum(), np.maximum(q[filled] / q.sum(), EMPTY / len(p))
    return float((p * np.log(p / q)).sum())
