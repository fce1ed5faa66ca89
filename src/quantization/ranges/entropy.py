"""The range that loses the least information: the clipped and quantized histogram is as close to the whole as it gets.

Migacz, 8-bit Inference with TensorRT (GTC 2017, the slides on calibration). P is the histogram clipped at a threshold,
what lies beyond added to its outermost bins; Q the same without what lies beyond, merged into as many levels as the
grid has and spread again over the bins that are not empty. The threshold with the least divergence KL(P || Q) wins.
Migacz clips absolute values; here [-t, t] is cut down to what was observed, as onnxruntime does, since an activation
such as SiLU's reaches far to one side only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.quantization.ranges.histogram import Histogram

LEVELS = 128
"""Of Q. Migacz's number, and onnxruntime's: as many as eight signed bits have on either side of zero."""

CANDIDATES = 128
"""Thresholds that are tried, evenly spaced up to the whole range."""

EMPTY = 1e-4
"""Share of the mass that an empty bin of Q counts as, so that P / Q stays finite; onnxruntime smooths with it too."""


def entropy_range(histogram: Histogram) -> tuple[float, float]:
    """Return (low, high), the ends of bins, widened to hold zero.

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
