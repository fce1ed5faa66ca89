from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deployment.graph import head_inputs, learned_convolutions
from src.quantization.sensitivity import layer_errors
from tests.quantization.networks import SETTING


def two_convolutions() -> onnx.ModelProto:
    """Return two convolutions that multiply x (1, 1, 1, 8) by 1, and a softmax as head."""
    one = np.ones((1, 1, 1, 1), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["y"], name="first"),
            helper.make_node("Conv", ["y", "w2"], ["z"], name="second"),
            helper.make_node("Softmax", ["z"], ["p"], name="head"),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 8])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 1, 1, 8])],
        [numpy_helper.from_array(one, "w1"), numpy_helper.from_array(one, "w2")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_the_layer_with_the_coarser_grid_is_the_more_sensitive() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (1, 1, 1, 8)).astype(np.float32)
    calls = []
    ranges = {"x": (-1.0, 1.0), "y": (-1.0, 1.0), "z": (-16.0, 16.0), "p": (0.0, 1.0)}
    errors = layer_errors(two_convolutions(), ranges, SETTING, [x], threads=1, on_layer=lambda: calls.append(None))
    assert [error.layer for error in errors] == ["second", "first"]
    # Uniform rounding noise of step S has the variance S^2 / 12, for the input's grid and the output's.
    noise = (2 / 255) ** 2 / 12 + (32 / 255) ** 2 / 12
    assert errors[0].sqnr_db == pytest.approx(10 * np.log10((x**2).mean() / noise), abs=4)
    assert errors[0].sqnr_db < errors[1].sqnr_db - 15
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("kind", "outputs"), [("yolov8n", 6), ("yolo11n", 6), ("yolo26n", 6), ("yolov8n of one class", 6)]
)
def test_the_head_reads_the_last_learned_convolutions(kind: str, outputs: int, networks: dict[str, Path]) -> None:
    model = onnx.load(networks[kind])
    producers = {name: node for node in model.graph.node for name in node.output}
    read = head_inputs(model)
    assert len(read) == outputs
    assert {producers[name].op_type for name in read} == {"Conv"}
    assert len(learned_convolutions(model)) == sum(n.op_type == "Conv" for n in model.graph.node) - (kind != "yolo26n")
