from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deployment.equalization import equalize, pairs_of
from src.foundation.errors import UserError
from tests.quantization.networks import run

pytestmark = pytest.mark.slow


def chain(activation: str | None, *, groups: int = 1, second_reader: bool = False) -> onnx.ModelProto:
    """Return a convolution of 2 to 4 channels, an activation or none, and a convolution of 4 to 4 channels."""
    random = np.random.default_rng(0)
    first = random.normal(size=(4, 2, 1, 1)) * np.array([0.01, 1, 10, 100]).reshape(-1, 1, 1, 1)
    second = random.normal(size=(4, 4 // groups, 3, 3))
    constants = {"w1": first, "b1": random.normal(size=4), "w2": second, "b2": random.normal(size=4)}
    nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["y"])]
    if activation:
        nodes.append(helper.make_node(activation, ["y"], ["a"]))
    between = "a" if activation else "y"
    nodes.append(helper.make_node("Conv", [between, "w2", "b2"], ["z"], group=groups, pads=[1] * 4))
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4, 8, 8])]
    if second_reader:
        nodes.append(helper.make_node("Neg", [between], ["n"]))
        outputs.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, [1, 4, 8, 8]))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
        outputs,
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def weights(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", None])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_function_does_not_change_and_the_ranges_become_equal(activation: str | None, groups: int) -> None:
    model = chain(activation, groups=groups)
    before = model.SerializeToString()
    equalized = equalize(model)
    assert model.SerializeToString() == before
    x = np.random.default_rng(1).normal(size=(1, 2, 8, 8)).astype(np.float32)
    expected = run(model, x)
    assert run(equalized, x) == pytest.approx(expected, abs=1e-5 * float(np.abs(expected).max()))
    r1 = np.abs(weights(equalized, "w1")).max(axis=(1, 2, 3))
    grouped = np.abs(weights(equalized, "w2")).reshape(groups, 4 // groups, 4 // groups, 3, 3)
    r2 = grouped.max(axis=(1, 3, 4)).ravel()
    assert r1 == pytest.approx(r2, rel=2e-3)
    # The range of the first channel is the geometric mean of the two.
    was = np.abs(weights(model, "w1"))[0].max(), np.abs(weights(model, "w2")).reshape(grouped.shape)[0, :, 0].max()
    assert r1[0] == pytest.approx(np.sqrt(was[0] * was[1]), rel=2e-3)


def test_a_dead_channel_does_not_change() -> None:
    model = chain("Relu")
    dead = weights(model, "w1").copy()
    dead[2] = 0
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(dead, "w1"))
    equalized = equalize(model)
    assert weights(equalized, "w2")[:, 2].tolist() == weights(model, "w2")[:, 2].tolist()
    assert np.isfinite(weights(equalized, "w1")).all()


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(chain("Sigmoid"), id="an activation that does not scale"),
        pytest.param(chain("Relu", second_reader=True), id="a second reader"),
    ],
)
def test_equalization_that_would_change_the_function_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(UserError, match=r"equalize must be false for a network without convolutions that have ReLU"):
        equalize(model)


def test_a_detector_with_silu_has_no_pairs(networks: dict[str, Path]) -> None:
    assert pairs_of(onnx.load(networks["yolov8n"])) == []
