"""The interval of a paired difference over seeds: a bootstrap over the test images and over the seeds.

The draws of images are those of src/evaluation/bootstrap.py, the same for every detector: in a draw, control and
variant of a seed see the same images. With each draw of images the seeds are drawn as well, with replacement. A few
seeds drawn in this way spread less than their population, and three of the same sign would always exclude 0. So what a
draw of seeds adds to their mean is stretched: without noise of images, the interval is about Student's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from src.evaluation.bootstrap import QUANTILES, SEED, Difference, Scores


def paired_difference(control: Mapping[int, Scores], variant: Mapping[int, Scores]) -> Difference | None:
    """Return what a variant gains over its control on average, and the interval; None with fewer than two common seeds.

    Args:
        control: scores by seed.
        variant: scores by seed; seeds that only one of the two has are left out.
    """
    seeds = sorted(control.keys() & variant.keys())
    if len(seeds) < 2:
        return None
    gained = float(np.mean([variant[seed].map50_95 - control[seed].map50_95 for seed in seeds]))
    draws = np.stack([variant[seed].draws - control[seed].draws for seed in seeds])  # (seeds, draws)
    low, high = np.quantile(_over_seeds(draws), QUANTILES)
    return Difference(*(round(float(value), 6) for value in (gained, low, high)))


def _over_seeds(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the seeds of each draw, with seeds drawn as well: (S, D) to (D,)."""
    count, number = draws.shape
    drawn = np.random.default_rng(SEED).integers(count, size=(count, number))
    mean = draws.mean(axis=0)
    return mean + stretch(count) * (np.take_along_axis(draws, drawn, axis=0).mean(axis=0) - mean)


def stretch(seeds: int) -> float:
    """Return by how much Student's interval of a mean of a few values is wider than the bootstrap's.

    >>> round(stretch(3), 2), round(stretch(1000), 2)
    (2.69, 1.0)
    """
    high = QUANTILES[1]
    return float(stats.t.ppf(high, seeds - 1) / stats.norm.ppf(high) * np.sqrt(seeds / (seeds - 1)))
