"""The moving-average calibrator: a moving average of each image's least and greatest value.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference (arXiv
1712.05877, section 3.1) smooth the ranges of training batches in the same way. One image with an outlier moves this
range by a fraction of the distance that it moves the min-max range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def moving_average_range(extremes: NDArray[np.floating], momentum: float) -> tuple[float, float]:
    """Return (low, high), widened to include zero.

    Args:
        extremes: (images, 2), least and greatest value of each image, in the order observed; at least one image.
        momentum: weight of the old average in each step, in [0, 1). The first image is the first average.

    >>> moving_average_range(np.array([[-1, 2], [-3, 4]]), momentum=0.5)
    (-2.0, 3.0)
    """
    average = extremes[0].astype(np.float64)
    for image in extremes[1:]:
        average = momentum * average + (1 - momentum) * image
    low, high = average
    return min(float(low), 0.0), max(float(high), 0.0)
