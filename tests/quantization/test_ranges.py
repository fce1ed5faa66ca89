import numpy as np
import pytest

from src.quantization.histogram import Histogram, count, share_outside
from src.quantization.minmax import minmax_range
from src.quantization.percentile import percentile_range


def histogram(least: float, greatest: float, *counts: int) -> Histogram:
    return Histogram(least, greatest, np.array(counts, dtype=np.int64))


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(histogram(-1, 3, 1, 1), (-1, 3), id="zero inside"),
        pytest.param(histogram(2, 3, 1, 1), (0, 3), id="all positive"),
        pytest.param(histogram(-3, -2, 1, 1), (-3, 0), id="all negative"),
        pytest.param(histogram(0, 0, 5, 0), (0, 0), id="nothing but zero"),
        pytest.param(histogram(7, 7, 5, 0), (0, 7), id="one constant"),
    ],
)
def test_minmax_keeps_everything_and_zero(observed: Histogram, expected: tuple[float, float]) -> None:
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
        pytest.param(histogram(0, 0, 5, 0), 99, (0, 0), id="nothing but zero"),
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
def test_percentile_must_be_one(percentile: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(50, 100\]"):
        percentile_range(histogram(-1, 1, 1, 1), percentile)


def test_an_empty_histogram_has_no_percentiles() -> None:
    with pytest.raises(ValueError, match="without values"):
        percentile_range(histogram(-1, 1, 0, 0), 99)


def test_counting_is_numpys_histogram() -> None:
    values = np.random.default_rng(0).normal(size=(3, 50, 7)).astype(np.float32)
    least, greatest = float(values.min()), float(values.max())
    expected, _ = np.histogram(values, bins=64, range=(least, greatest))
    assert count(values, least, greatest, 64).tolist() == expected.tolist()


@pytest.mark.parametrize("constant", [0.0, -3.5])
def test_a_constant_is_counted_in_the_first_bin(constant: float) -> None:
    assert count(np.full(9, constant, dtype=np.float32), constant, constant, 4).tolist() == [9, 0, 0, 0]


def test_share_outside_counts_bins_by_their_middle() -> None:
    assert share_outside(histogram(-5, 5, 1, 9, 80, 9, 1), -3, 3) == pytest.approx(0.02)
