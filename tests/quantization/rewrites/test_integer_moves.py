from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deployment.images import load_image
from src.quantization.int8 import quantize_network
from src.quantization.rewrites.integer_moves import moves_on_integers
from tests.quantization.networks import IMGSZ, SETTING, random_images, run
from tests.quantization.test_int8 import ranges_of


def joined(*, scale_behind: float = 0.1, **attributes: Any) -> onnx.ModelProto:
    """Return a graph that resizes x and concatenates the result with itself, with Q/DQ around both operators."""
    steps = [
        ("QuantizeLinear", ["x", "s", "z"], "q"),
        ("DequantizeLinear", ["q", "s", "z"], "r"),
        ("Resize", ["r", "", "scales"], "large"),
        ("QuantizeLinear", ["large", "s", "z"], "large_q"),
        ("DequantizeLinear", ["large_q", "s", "z"], "large_r"),
        ("Concat", ["large_r", "large_r"], "both"),
        ("QuantizeLinear", ["both", "behind", "z"], "both_q"),
        ("DequantizeLinear", ["both_q", "behind", "z"], "y"),
    ]
    own: dict[str, dict[str, Any]] = {"Concat": {"axis": 1}, "Resize": attributes}
    nodes = [helper.make_node(kind, inputs, [output], **own.get(kind, {})) for kind, inputs, output in steps]
    constants = {"s": 0.1, "behind": scale_behind, "scales": [1, 1, 2, 2]}
    initializers = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    initializers.append(numpy_helper.from_array(np.uint8(100), "z"))
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, None, None]) for n, name in enumerate("xy", 1)
    )
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def moved(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    moves_on_integers(copy)
    onnx.checker.check_model(copy)
    return copy


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


X = np.random.default_rng(0).uniform(-9, 9, (1, 1, 4, 4)).astype(np.float32)


def test_on_one_grid_integers_are_moved_and_no_value_changes() -> None:
    before = joined(mode="nearest")
    after = moved(before)
    assert kinds(after) == ["QuantizeLinear", "Resize", "Concat", "DequantizeLinear"]
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_operators_between_different_grids_keep_their_q_and_dq() -> None:
    before = joined(mode="nearest", scale_behind=0.2)
    after = moved(before)
    assert kinds(after)[:3] == ["QuantizeLinear", "Resize", "DequantizeLinear"]
    assert kinds(after)[3:] == ["Concat", "QuantizeLinear", "DequantizeLinear"]
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_a_float_output_of_the_graph_stays_float() -> None:
    before = joined(mode="nearest")
    before.graph.output.append(helper.make_tensor_value_info("both", TensorProto.FLOAT, [1, 2, None, None]))
    after = moved(before)
    assert kinds(after)[-3:] == ["Concat", "QuantizeLinear", "DequantizeLinear"]
    np.testing.assert_array_equal(run(after, X), run(before, X))


def test_interpolation_keeps_its_q_and_dq() -> None:
    after = moved(joined(mode="linear"))
    assert kinds(after)[:4] == ["QuantizeLinear", "DequantizeLinear", "Resize", "QuantizeLinear"]


@pytest.mark.parametrize("kind", ["yolov8n", "yolov8n with ReLU", "yolo11n", "yolo26n"])
def test_moving_operators_of_detectors_run_on_integers(networks: dict[str, Path], tmp_path: Path, kind: str) -> None:
    model = onnx.load(networks[kind])
    images = random_images(tmp_path, 4)
    after = quantize_network(model, ranges_of(model, images), replace(SETTING, target="openvino"))
    written = {name: node.op_type for node in after.graph.node for name in node.output}
    moving = [node for node in after.graph.node if node.op_type in ("Concat", "MaxPool", "Resize", "Split")]
    integers = [node for node in moving if written.get(node.input[0]) not in ("DequantizeLinear", "Reshape")]
    assert len(integers) >= 18  # 13 Concat, 3 MaxPool and 2 Resize before the head
    quantized = [written.get(node.input[0]) for node in after.graph.node if node.op_type == "QuantizeLinear"]
    assert {node.op_type for node in moving}.isdisjoint(quantized)
    read = {name for node in after.graph.node for name in node.input}
    assert {tensor.name for tensor in after.graph.initializer} <= read
    image = load_image(images[0], IMGSZ)
    assert np.corrcoef(run(model, image).ravel(), run(after, image).ravel())[0, 1] > 0.9
