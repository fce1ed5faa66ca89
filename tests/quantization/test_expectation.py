from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from src.quantization.expectation import without_softmax
from tests.quantization.networks import run

VALUES = 16


def head(axis: int = 1, weights: NDArray[np.float32] | None = None, *, read_twice: bool = False) -> onnx.ModelProto:
    """Return the graph of an expectation over distributions (1, 16, 4, 50)."""
    weights = np.arange(VALUES, dtype=np.float32) if weights is None else weights
    nodes = [
        helper.make_node("Softmax", ["logits"], ["shares"], axis=axis),
        helper.make_node("Conv", ["shares", "weights"], ["sides"]),
    ]
    outputs = ["sides"]
    if read_twice:
        nodes.append(helper.make_node("Relu", ["shares"], ["again"]))
        outputs.append("again")
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, VALUES, 4, 50])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, 4, 50]) for name in outputs],
        [numpy_helper.from_array(weights.reshape(1, VALUES, 1, 1), "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("spread", [1, 30, 70])
def test_the_expectation_stays_and_the_softmax_goes(spread: float) -> None:
    logits = np.random.default_rng(0).uniform(-spread, spread, (1, VALUES, 4, 50)).astype(np.float32)
    model = head()
    expected = run(model, logits)
    without_softmax(model)
    onnx.checker.check_model(model, full_check=True)
    assert "Softmax" not in operators(model)
    assert "weights" not in {tensor.name for tensor in model.graph.initializer}
    np.testing.assert_allclose(run(model, logits), expected, atol=1e-4)


@pytest.mark.parametrize("sign", [-1, 1])
def test_logits_that_exp_cannot_hold_give_what_is_decided(sign: int) -> None:
    logits = np.full((1, VALUES, 4, 50), sign * 1000, dtype=np.float32)
    model = head()
    without_softmax(model)
    np.testing.assert_allclose(run(model, logits), (VALUES - 1) / 2, rtol=1e-5)  # all alike
    logits[:, 3] += 2000
    if sign < 0:
        np.testing.assert_allclose(run(model, logits), 3, rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        head(axis=2),
        head(weights=np.linspace(0, 1, VALUES, dtype=np.float32)),
        head(read_twice=True),
    ],
    ids=["over another axis", "learned weights", "read by others"],
)
def test_what_is_no_expectation_is_left(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    without_softmax(model)
    assert model.SerializeToString() == before
