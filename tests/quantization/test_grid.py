import numpy as np
import onnx
import pytest
from onnxruntime.quantization.quant_utils import compute_scale_zp, get_qmin_qmax_for_qType

from tests.quantization.grid import INT8, UINT8, dequantize, quantize, scale_and_zero_point


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        pytest.param(0.0, 255.0, 1.0, 0, id="only positive"),
        pytest.param(-127.5, 127.5, 1.0, 128, id="symmetric: 127.5 is rounded to even"),
        pytest.param(-255.0, 0.0, 1.0, 255, id="only negative"),
        pytest.param(-1.0, 1.55, 0.01, 100, id="zero in between"),
        pytest.param(0.0, 0.0, 1.0, 0, id="no width"),
        pytest.param(0.0, 1e-45, 1.0, 0, id="width below the least normal float"),
    ],
)
def test_scale_and_zero_point_of_known_ranges(low: float, high: float, scale: float, zero_point: int) -> None:
    found = scale_and_zero_point(low, high)
    assert found == (pytest.approx(scale, rel=1e-7), zero_point)


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (-2.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_range_without_zero_or_end_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must be finite and hold zero"):
        scale_and_zero_point(low, high)


def test_known_real_numbers_become_integers_and_back() -> None:
    real = np.array([-0.2, -0.1, 0.0, 0.014, 0.016, 1.5, 99.0])
    integers = quantize(real, scale=0.01, zero_point=10)
    assert integers.tolist() == [0, 0, 10, 11, 12, 160, 255]
    assert dequantize(integers, scale=0.01, zero_point=10) == pytest.approx([-0.1, -0.1, 0, 0.01, 0.02, 1.5, 2.45])


def test_zero_is_exact_and_rounding_errors_are_at_most_one_step() -> None:
    random = np.random.default_rng(0)
    for low, high in zip(-random.exponential(5, 50), random.exponential(5, 50), strict=True):
        scale, zero_point = scale_and_zero_point(low, high)
        real = random.uniform(low, high, 1000)
        back = dequantize(quantize(real, scale, zero_point), scale, zero_point)
        assert dequantize(quantize(np.zeros(1), scale, zero_point), scale, zero_point) == 0
        # Rounding Z moves the ends of the grid by up to half a step more.
        assert np.abs(back - real).max() <= scale * (1 + 1e-6)


@pytest.mark.parametrize(
    ("grid", "onnx_type"),
    [pytest.param(UINT8, onnx.TensorProto.UINT8, id="uint8"), pytest.param(INT8, onnx.TensorProto.INT8, id="int8")],
)
def test_the_grid_agrees_with_onnxruntime(grid: tuple[int, int], onnx_type: int) -> None:
    random = np.random.default_rng(1)
    q_min, q_max = get_qmin_qmax_for_qType(onnx_type)
    lows, highs = -random.exponential(5, 200).astype(np.float32), random.exponential(5, 200).astype(np.float32)
    for low, high in zip(lows, highs, strict=True):
        zero_point, scale = compute_scale_zp(low, high, q_min, q_max)
        assert scale_and_zero_point(float(low), float(high), *grid) == (float(scale), int(zero_point))
