from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deployment.images import load_image
from src.quantization.int8 import quantize_network
from src.quantization.rewrites.bias_correction import correct_biases
from tests.quantization.networks import IMGSZ, SETTING, random_images, run
from tests.quantization.test_int8 import ranges_of

PER_TENSOR = replace(SETTING, per_channel=False, float_head=False)


def lopsided(*, bias: bool, padding: int) -> tuple[onnx.ModelProto, np.ndarray]:
    """Return a 3x3 convolution with one large weight that makes the grid too coarse for the others, and its weights."""
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.02, (4, 2, 3, 3)).astype(np.float32)
    weights[0, 0, 0, 0] = 8
    size = 8 if padding else 6
    constants = [numpy_helper.from_array(weights, "w")]
    if bias:
        constants.append(numpy_helper.from_array(random.normal(size=4).astype(np.float32), "b"))
    node = helper.make_node("Conv", ["x", "w", *(["b"] if bias else [])], ["y"], pads=[padding] * 4)
    graph = helper.make_graph(
        [node],
        "lopsided",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, size, size])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), weights


def inputs(number: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.uniform(0, 1, (1, 2, 8, 8)).astype(np.float32) for _ in range(number)]


@pytest.mark.parametrize("bias", [pytest.param(True, id="with a bias"), pytest.param(False, id="without one")])
def test_the_shift_is_epsilon_times_the_mean_of_x(bias: bool) -> None:
    model, weights = lopsided(bias=bias, padding=0)
    x = np.full((1, 2, 8, 8), 0.5, np.float32)  # constant: the mean at every location
    quantized = quantize_network(model, {"x": (0, 1), "y": (-16, 16)}, PER_TENSOR)
    scale = 8 / 127
    epsilon = np.round(weights / scale) * scale - weights
    before = numpy_helper.to_array(model.graph.initializer[1]) if bias else 0
    corrected = correct_biases(model, quantized, [x], threads=1)
    after = numpy_helper.to_array(corrected.graph.initializer[1])
    assert after == pytest.approx(before - 0.5 * epsilon.sum(axis=(1, 2, 3)), abs=1e-5)
    assert numpy_helper.to_array(corrected.graph.initializer[0]).tolist() == weights.tolist()


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("padding", [0, 1])
def test_correction_removes_the_drift_of_channels(form: str, padding: int) -> None:
    model, _ = lopsided(bias=True, padding=padding)
    images = inputs(20)
    outputs = np.concatenate([run(model, x) for x in images])
    ranges = {"x": (0.0, 1.0), "y": (min(float(outputs.min()), 0.0), float(outputs.max()))}
    setting = replace(PER_TENSOR, format=form)
    quantized = quantize_network(model, ranges, setting)
    corrected = quantize_network(correct_biases(model, quantized, images, threads=1), ranges, setting)
    drift = {
        name: np.abs(np.concatenate([run(network, x) - run(model, x) for x in images]).mean(axis=(0, 2, 3)))
        for name, network in {"before": quantized, "after": corrected}.items()
    }
    assert drift["before"].max() > 0.03
    assert drift["after"].max() < 0.2 * drift["before"].max()


def test_a_network_whose_weights_are_on_the_grid_does_not_change() -> None:
    model, weights = lopsided(bias=True, padding=1)
    scale = np.float32(8 / 127)
    on_grid = (np.round(weights / scale) * scale).astype(np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(on_grid, "w"))
    quantized = quantize_network(model, {"x": (0, 1), "y": (-16, 16)}, PER_TENSOR)
    corrected = correct_biases(model, quantized, inputs(2), threads=1)
    assert run(corrected, inputs(1)[0]) == pytest.approx(run(model, inputs(1)[0]), abs=1e-5)


def test_a_detector_is_corrected_to_the_same_bytes_each_time(networks: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(networks["yolov8n"])
    before = model.SerializeToString()
    paths = random_images(tmp_path, 3)
    quantized = quantize_network(model, ranges_of(model, paths), SETTING)
    images = [load_image(path, IMGSZ) for path in paths]
    first, second = (correct_biases(model, quantized, images, threads=1).SerializeToString() for _ in range(2))
    assert first == second
    assert first != before == model.SerializeToString()
