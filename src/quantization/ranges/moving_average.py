"""The range that an image has on average: a moving average of the least and of the greatest values, image by image.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference (arXiv
1712.05877, section 3.1) smooth the ranges of batches so while they train. One image with an outlier moves the range
by a fraction of what it moves min-max.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def moving_average_range(extremes: NDArray[np.floating], momentum: float) -> tuple[float, float]:
    """Return (low, high), widened to hold zero.

    Args:
        extremes: (images, 2), least and greatest value of each image, in the order observed; at least one image.
        momentum: what a step keeps of the average so far, in [0, 1). The first image starts it.
    """
    average = extremes[0].astype(np.float64)
    for image in extremes[1:]:
        average = momentum * average + (1 - momentum) * image
    low, high = average
    return min(float(low), 0.0), max(float(high), 0.0)
