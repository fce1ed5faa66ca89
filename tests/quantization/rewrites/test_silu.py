from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel

from src.quantization.rewrites.silu import silu_by_tanh
from tests.quantization.networks import run


def gated(factor: str = "x", *, swapped: bool = False, graph_output: str = "") -> onnx.ModelProto:
    """Return the graph of the sigmoid of x times `factor`: a SiLU if that is x."""
    factors = ["gate", factor]
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["gate"]),
        helper.make_node("Mul", factors[::-1] if swapped else factors, ["y"]),
    ]
    outputs = ["y", graph_output] if graph_output else ["y"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in outputs],
        [numpy_helper.from_array(np.float32([2]), "two")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_silu_becomes_a_tanh_and_keeps_its_values(swapped: bool) -> None:
    x = np.concatenate([np.linspace(-20, 20, 4001), [-1e4, 1e4]]).astype(np.float32)
    model = gated(swapped=swapped)
    silu_by_tanh(model)
    ONNXModel(model).topological_sort()
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Mul", "Tanh", "Mul", "Add"]
    real = x.astype(np.float64)
    with np.errstate(over="ignore"):
        expected = real / (1 + np.exp(-real))
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize(
    "model",
    [gated("two"), gated("gate"), gated(graph_output="gate")],
    ids=["times another tensor", "squared", "the sigmoid is an output of the graph"],
)
def test_other_products_with_a_sigmoid_do_not_change(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    silu_by_tanh(model)
    assert model.SerializeToString() == before
