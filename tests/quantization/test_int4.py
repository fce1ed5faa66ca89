from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from src.deployment.graph import learned_convolutions
from src.quantization.int4 import to_int4_weights
from tests.quantization.networks import IMGSZ, run, single_convolution


def test_a_convolution_agrees_with_numpy_on_rounded_weights() -> None:
    model, weights, biases = single_convolution()
    x = np.random.default_rng(1).normal(0.3, 1, (1, 3, 4, 4)).astype(np.float32)
    scales = np.abs(weights).max(axis=1, keepdims=True) / 7
    on_grid = np.round(weights / scales) * scales
    expected = np.einsum("oi,nihw->nohw", on_grid, x) + biases[:, None, None]
    np.testing.assert_allclose(run(to_int4_weights(model), x), expected, rtol=1e-4, atol=1e-5)


def test_a_channel_of_zeros_stays_zero() -> None:
    model, weights, _ = single_convolution()
    [kernel] = [t for t in model.graph.initializer if t.name == model.graph.node[0].input[1]]
    kernel.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(weights).reshape(kernel.dims), kernel.name))
    x = np.ones((1, 3, 4, 4), dtype=np.float32)
    biases = onnx.numpy_helper.to_array(model.graph.initializer[1])
    assert np.array_equal(run(to_int4_weights(model), x)[0, :, 0, 0], biases)


@pytest.mark.parametrize("kind", ["yolov8n", "yolo11n", "yolo26n", "yolov8n of one class"])
def test_every_learned_convolution_has_weights_of_4_bits(kind: str, networks: dict[str, Path]) -> None:
    model = onnx.load(networks[kind])
    before = model.SerializeToString()
    quantized = to_int4_weights(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(quantized)
    integers = {t.name for t in quantized.graph.initializer if t.data_type == TensorProto.INT4}
    packed = [node for node in quantized.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in integers]
    assert len(packed) == len(learned_convolutions(model))
    assert list(quantized.metadata_props) == list(model.metadata_props)
    output = run(quantized, np.full((1, 3, IMGSZ, IMGSZ), 0.5, dtype=np.float32))
    assert np.isfinite(output).all()
