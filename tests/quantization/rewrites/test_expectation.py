from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel

from src.quantization.rewrites.expectation import expectations_by_level

BINS, SIDES = 16, 4
LEVELS = {"large": 4, "small": 2}
"""Side of each level, in locations."""
BETWEEN = ("large_flat", "joined", "by_side", "by_bin", "shares", "expected")
"""The tensors between the levels and the sides."""
LOCATIONS = sum(side**2 for side in LEVELS.values())


def head(
    axis: int = 1,
    weights: NDArray[np.float32] | None = None,
    *,
    read_twice: str = "",
    graph_output: str = "",
    perm: tuple[int, ...] = (0, 2, 1, 3),
) -> onnx.ModelProto:
    """Return the graph of a head that joins the logits of two levels and takes expectations, as ultralytics does."""
    weights = np.arange(BINS, dtype=np.float32) if weights is None else weights
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        *(("Reshape", [name, "flat"], f"{name}_flat", {}) for name in LEVELS),
        ("Concat", [f"{name}_flat" for name in LEVELS], "joined", {"axis": 2}),
        ("Reshape", ["joined", "split"], "by_side", {}),
        ("Transpose", ["by_side"], "by_bin", {"perm": perm}),
        ("Softmax", ["by_bin"], "shares", {"axis": axis}),
        ("Conv", ["shares", "weights"], "expected", {}),
        ("Reshape", ["expected", "box"], "sides", {}),
    ]
    outputs = ["sides", graph_output] if graph_output else ["sides"]
    if read_twice:
        steps.append(("Relu", [read_twice], "again", {}))
        outputs.append("again")
    constants = {
        "flat": np.array([1, SIDES * BINS, -1]),
        "split": np.array([1, SIDES, BINS, LOCATIONS]),
        "box": np.array([1, SIDES, LOCATIONS]),
        "weights": weights.reshape(1, BINS, 1, 1),
    }
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **attributes) for kind, inputs, output, attributes in steps],
        "head",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDES * BINS, side, side])
            for name, side in LEVELS.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def sides(model: onnx.ModelProto, logits: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["sides"], logits)[0]
    return found


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    expectations_by_level(copy)
    ONNXModel(copy).topological_sort()
    return copy


@pytest.mark.parametrize("spread", [1, 30, 70])
def test_the_expectation_keeps_its_values_without_a_softmax(spread: float) -> None:
    random = np.random.default_rng(0)
    logits = {
        name: random.uniform(-spread, spread, (1, SIDES * BINS, side, side)).astype(np.float32)
        for name, side in LEVELS.items()
    }
    after = rewritten(head())
    assert {"Softmax", "Transpose"}.isdisjoint(node.op_type for node in after.graph.node)
    np.testing.assert_allclose(sides(after, logits), sides(head(), logits), atol=1e-4)


@pytest.mark.parametrize("sign", [-1, 1])
def test_logits_that_overflow_exp_give_the_right_expectation(sign: int) -> None:
    logits = {
        name: np.full((1, SIDES * BINS, side, side), sign * 1000, dtype=np.float32) for name, side in LEVELS.items()
    }
    after = rewritten(head())
    np.testing.assert_allclose(sides(after, logits), (BINS - 1) / 2, rtol=1e-5)  # all equal
    if sign < 0:
        logits["small"][:, BINS + 3] = 1000  # of the second side
        found = sides(after, logits)
        np.testing.assert_allclose(found[0, 1, LEVELS["large"] ** 2 :], 3, rtol=1e-5)
        np.testing.assert_allclose(found[0, 0], (BINS - 1) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        head(axis=2),
        head(weights=np.linspace(0, 1, BINS, dtype=np.float32)),
        head(perm=(0, 2, 3, 1)),
        *(head(read_twice=name) for name in BETWEEN),
        *(head(graph_output=name) for name in BETWEEN),
    ],
    ids=["over another axis", "learned weights", "another order"]
    + [f"{name} {reason}" for reason in ("read by others", "output of the graph") for name in BETWEEN],
)
def test_graphs_without_an_expectation_do_not_change(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    expectations_by_level(model)
    assert model.SerializeToString() == before
