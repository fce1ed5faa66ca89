from collections.abc import Callable

import numpy as np
import pytest

from src.quantization.ranges.entropy import entropy_range
from src.quantization.ranges.histogram import Histogram, count, share_outside
from src.quantization.ranges.minmax import minmax_range
from src.quantization.ranges.moving_average import moving_average_range
from src.quantization.ranges.mse import mse_range
from src.quantization.ranges.percentile import percentile_range
from tests.quantization.grid import dequantize, quantize, scale_and_zero_point


def histogram(least: float, greatest: float, *counts: int) -> Histogram:
    return Histogram(least, greatest, np.array(counts, dtype=np.int64))


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(histogram(-1, 3, 1, 1), (-1, 3), id="zero inside"),
        pytest.param(histogram(2, 3, 1, 1), (0, 3), id="all positive"),
        pytest.param(histogram(-3, -2, 1, 1), (-3, 0), id="all negative"),
        pytest.param(histogram(0, 0, 5, 0), (0, 0), id="only zero"),
        pytest.param(histogram(7, 7, 5, 0), (0, 7), id="one constant"),
    ],
)
def test_minmax_keeps_the_observed_range_and_zero(observed: Histogram, expected: tuple[float, float]) -> None:
    assert minmax_range(observed) == expected


@pytest.mark.parametrize(
    ("observed", "percentile", "expected"),
    [
        pytest.param(histogram(-5, 5, 1, 9, 80, 9, 1), 98, (-3, 3), id="one percent on either side"),
        pytest.param(histogram(-5, 5, 1, 9, 80, 9, 1), 99, (-5, 5), id="a bin is never cut in part"),
        pytest.param(histogram(-5, 5, 1, 9, 80, 9, 1), 80, (-1, 1), id="ten percent on either side"),
        pytest.param(histogram(-5, 5, 1, 9, 80, 9, 1), 100, (-5, 5), id="all"),
        pytest.param(histogram(-5, 5, 99, 0, 0, 0, 1), 97, (-5, 0), id="an outlier far off, zero kept"),
        pytest.param(histogram(10, 20, 50, 50), 60, (0, 20), id="all positive, zero kept"),
        pytest.param(histogram(0, 0, 5, 0), 99, (0, 0), id="only zero"),
        pytest.param(histogram(-4, -4, 5, 0), 99, (-4, 0), id="one constant"),
    ],
)
def test_percentile_cuts_whole_bins(observed: Histogram, percentile: float, expected: tuple[float, float]) -> None:
    assert percentile_range(observed, percentile) == pytest.approx(expected)


def test_percentile_agrees_with_numpy_to_a_bin() -> None:
    values = np.random.default_rng(0).normal(0.5, 2, 100_000).astype(np.float32)
    least, greatest = float(values.min()), float(values.max())
    found = percentile_range(Histogram(least, greatest, count(values, least, greatest, 2048)), 99)
    assert found == pytest.approx(np.percentile(values, [0.5, 99.5]), abs=1.01 * (greatest - least) / 2048)


@pytest.mark.parametrize("percentile", [50, 0, 100.1])
def test_a_percentile_out_of_range_is_refused(percentile: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(50, 100\]"):
        percentile_range(histogram(-1, 1, 1, 1), percentile)


def test_an_empty_histogram_has_no_percentiles() -> None:
    with pytest.raises(ValueError, match="without values"):
        percentile_range(histogram(-1, 1, 0, 0), 99)


def test_count_agrees_with_numpys_histogram() -> None:
    values = np.random.default_rng(0).normal(size=(3, 50, 7)).astype(np.float32)
    least, greatest = float(values.min()), float(values.max())
    expected, _ = np.histogram(values, bins=64, range=(least, greatest))
    assert count(values, least, greatest, 64).tolist() == expected.tolist()


@pytest.mark.parametrize("constant", [0.0, -3.5])
def test_a_constant_is_counted_in_the_first_bin(constant: float) -> None:
    assert count(np.full(9, constant, dtype=np.float32), constant, constant, 4).tolist() == [9, 0, 0, 0]


def test_share_outside_counts_bins_by_their_middle() -> None:
    assert share_outside(histogram(-5, 5, 1, 9, 80, 9, 1), -3, 3) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("extremes", "momentum", "expected"),
    [
        pytest.param([[-1, 2]], 0.9, (-1, 2), id="one image"),
        pytest.param([[-1, 2], [-3, 4]], 0.5, (-2, 3), id="half of either"),
        pytest.param([[-1, 2], [-3, 4], [-2, 11]], 0.5, (-2, 7), id="the last counts half"),
        pytest.param([[-1, 2], [-3, 4]], 0, (-3, 4), id="the last alone"),
        pytest.param([[1, 2], [3, 4]], 0.5, (0, 3), id="zero kept"),
    ],
)
def test_the_moving_average(extremes: list[list[float]], momentum: float, expected: tuple[float, float]) -> None:
    assert moving_average_range(np.array(extremes), momentum) == pytest.approx(expected)


def observed(values: np.ndarray, bins: int = 2048) -> Histogram:
    least, greatest = float(values.min()), float(values.max())
    return Histogram(least, greatest, count(values, least, greatest, bins))


def error_on_the_grid(values: np.ndarray, low: float, high: float) -> float:
    scale, zero_point = scale_and_zero_point(low, high)
    return float(((values - dequantize(quantize(values, scale, zero_point), scale, zero_point)) ** 2).mean())


NORMAL = np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)
HEAVY = (np.random.default_rng(1).laplace(0, 1, 200_000)).astype(np.float32)
ONE_SIDED = np.maximum(HEAVY, -0.2)


@pytest.mark.parametrize(
    "values",
    [pytest.param(HEAVY, id="heavy tails"), pytest.param(ONE_SIDED, id="one tail"), pytest.param(NORMAL, id="normal")],
)
def test_no_other_range_has_a_smaller_error_than_mse(values: np.ndarray) -> None:
    histogram = observed(values)
    low, high = mse_range(histogram)
    found = error_on_the_grid(values, low, high)
    assert found <= error_on_the_grid(values, *minmax_range(histogram))
    others = [(low * a, high * b) for a in (0.7, 0.9, 1, 1.1, 1.4) for b in (0.7, 0.9, 1, 1.1, 1.4)]
    # The rounding error is assumed to be uniform, which is wrong for a spike between two steps.
    assert found <= 1.05 * min(error_on_the_grid(values, *other) for other in others)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(histogram(0, 0, 5, 0), (0, 0), id="only zero"),
        pytest.param(histogram(0, 1, 5, 5), (0, 1), id="no tail"),
        pytest.param(histogram(-4, -2, 5, 5), (-4, 0), id="all negative, zero kept"),
        pytest.param(histogram(2, 4, 5, 5), (0, 4), id="all positive, zero kept"),
    ],
)
def test_mse_keeps_the_range_of_values_without_outliers(seen: Histogram, expected: tuple[float, float]) -> None:
    assert mse_range(seen) == pytest.approx(expected)


def test_entropy_clips_heavy_tails_as_onnxruntime_does() -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = np.random.default_rng(1).laplace(0, 1, 200_000).astype(np.float32)
    edge = float(np.abs(values).max())
    counts, edges = np.histogram(values, bins=513, range=(-edge, edge))
    theirs = HistogramCollector.get_entropy_threshold(None, (counts, edges, values.min(), values.max(), edge), 128)
    low, high = entropy_range(Histogram(-edge, edge, counts))
    assert high < 0.95 * edge
    assert (low, high) == pytest.approx((float(theirs[0]), float(theirs[1])), rel=0.25)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(histogram(0, 0, 5, 0), (0, 0), id="only zero"),
        pytest.param(histogram(-1, 3, 1, 1), (-1, 3), id="fewer bins than levels"),
        pytest.param(histogram(2, 4, *[5] * 256), (0, 4), id="even, zero kept"),
    ],
)
def test_entropy_keeps_the_whole_range_of_these_histograms(seen: Histogram, expected: tuple[float, float]) -> None:
    assert entropy_range(seen) == pytest.approx(expected)


@pytest.mark.parametrize("choose", [entropy_range, mse_range])
def test_an_empty_histogram_has_no_range(choose: Callable[[Histogram], tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="without values"):
        choose(histogram(-1, 1, 0, 0))
