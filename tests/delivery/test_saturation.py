from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.delivery.saturation import keep_from_saturating, saturating
from src.quantization.int8 import quantize_network
from tests.quantization.networks import SETTING, run

CHANNELS = 8


def network(weights: np.ndarray) -> onnx.ModelProto:
    """Return a convolution of 1x1 with weights (outputs, CHANNELS) and a bias."""
    bias = np.linspace(-1, 1, len(weights)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, len(weights), 1, 1])],
        [numpy_helper.from_array(weights[..., None, None], "w"), numpy_helper.from_array(bias, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def quantized(model: onnx.ModelProto, per_channel: bool = True) -> onnx.ModelProto:
    return quantize_network(model, {"x": (0, 1), "y": (-10, 10)}, replace(SETTING, per_channel=per_channel))


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    [stored] = [one for one in model.graph.initializer if one.name == name]
    return numpy_helper.to_array(stored)


def weights_of(model: onnx.ModelProto) -> np.ndarray:
    return constant(model, "w_quantized").reshape(-1, CHANNELS)


def sums_without_vnni(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sums that vpmaddubsw and vpmaddwd give: neighbouring products are added in 16 bits, cut off."""
    products = activations.astype(np.int32) * weights.astype(np.int32)
    pairs = products.reshape(len(weights), -1, 2).sum(axis=2)
    return np.clip(pairs, -32768, 32767).sum(axis=1)


def exact_sums(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (activations.astype(np.int32) * weights.astype(np.int32)).sum(axis=1)


WEIGHTS = np.stack(
    [
        np.ones(CHANNELS),  # all pairs saturate upwards
        -np.ones(CHANNELS),  # and downwards
        np.eye(CHANNELS)[0],  # one weight alone cannot
        np.tile([1, -1], CHANNELS // 2),  # neighbours cancel, but a kernel may order them otherwise
    ]
).astype(np.float32)


def test_sums_of_the_usual_weights_saturate_and_those_of_the_target_do_not() -> None:
    bright = np.full(CHANNELS, 255, dtype=np.uint8)
    model = network(WEIGHTS)
    usual = quantized(model)
    assert saturating(usual) == ["w_quantized"]
    wrong = sums_without_vnni(bright, weights_of(usual)) != exact_sums(bright, weights_of(usual))
    assert wrong.tolist() == [True, True, False, False]
    target = quantized(model)
    keep_from_saturating(target, model)
    assert saturating(target) == []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(CHANNELS)
        weights = weights_of(target)[:, order]
        np.testing.assert_array_equal(sums_without_vnni(bright, weights), exact_sums(bright, weights))


def test_a_channel_that_cannot_saturate_keeps_its_eight_bits() -> None:
    model = network(WEIGHTS)
    target = quantized(model)
    keep_from_saturating(target, model)
    assert np.abs(weights_of(target)).max(axis=1).tolist() == [64, 64, 127, 64]


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_function_stays_the_same(per_channel: bool) -> None:
    random = np.random.default_rng(0)
    model = network(random.normal(size=(5, CHANNELS)).astype(np.float32))
    target = quantized(model, per_channel)
    keep_from_saturating(target, model)
    assert saturating(target) == []
    image = random.random((1, CHANNELS, 1, 1), dtype=np.float32)
    np.testing.assert_allclose(run(target, image).ravel(), run(model, image).ravel(), atol=0.12)


def test_the_bias_is_on_the_grid_that_integer_kernels_take_it_for() -> None:
    model = network(WEIGHTS)
    target = quantized(model)
    keep_from_saturating(target, model)
    scale = constant(target, "x_scale") * constant(target, "w_scale")
    np.testing.assert_allclose(constant(target, "b_quantized_scale"), scale, rtol=1e-6)
    np.testing.assert_allclose(constant(target, "b_quantized") * scale, constant(model, "b"), atol=scale.max())


@pytest.mark.parametrize("seed", range(30))
def test_rounding_up_two_weights_does_not_exceed_the_limit(seed: int) -> None:
    model = network(np.random.default_rng(seed).uniform(-1, 1, (64, CHANNELS)).astype(np.float32))
    target = quantized(model)
    keep_from_saturating(target, model)
    assert saturating(target) == []
