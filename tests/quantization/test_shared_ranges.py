from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.quantization.int8 import quantize_network
from src.quantization.shared_ranges import share_ranges
from tests.quantization.networks import SETTING, exported_detector


def graph() -> onnx.ModelProto:
    """Return a graph: a and b are convolutions of x, c concatenates both, d pools c, and y, the output, is a
    convolution of d.
    """
    convolved = {"a": "x", "b": "x", "y": "d"}
    weights = {name: np.ones((2, 4 if name == "y" else 2, 1, 1), dtype=np.float32) for name in convolved}
    nodes = [helper.make_node("Conv", [convolved[name], f"{name}_w"], [name], name=name) for name in ("a", "b")]
    nodes += [
        helper.make_node("Concat", ["a", "b"], ["c"], name="c", axis=1),
        helper.make_node("MaxPool", ["c"], ["d"], name="d", kernel_shape=[2, 2]),
        helper.make_node("Conv", ["d", "y_w"], ["y"], name="y"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, None, None]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(value, f"{name}_w") for name, value in weights.items()]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_concatenated_tensors_share_the_union_of_their_ranges() -> None:
    ranges = {"x": (0.0, 1.0), "a": (-1.0, 2.0), "b": (0.0, 5.0), "c": (-1.0, 5.0), "d": (0.0, 4.0), "y": (-9.0, 9.0)}
    shared = share_ranges(graph(), ranges)
    assert shared == {**ranges, **dict.fromkeys("abcd", (-1.0, 5.0))}


@pytest.mark.parametrize("kind", ["yolov8n", "yolo11n"])
def test_every_concat_of_a_detector_has_a_single_grid(kind: str, tmp_path: Path) -> None:
    model = onnx.load(exported_detector(kind, 3, tmp_path))
    random = np.random.default_rng(0)
    tensors = {name for node in model.graph.node for name in (*node.input, *node.output)}
    ranges = {name: (-float(random.uniform(0, 5)), float(random.uniform(0, 5))) for name in sorted(tensors)}
    int8 = quantize_network(model, ranges, replace(SETTING, per_channel=True))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    grids = {node.output[0]: node.input[1:3] for node in int8.graph.node if node.op_type == "DequantizeLinear"}
    written = {node.input[0]: node.input[1:3] for node in int8.graph.node if node.op_type == "QuantizeLinear"}
    joins = [node for node in int8.graph.node if node.op_type == "Concat" and node.output[0] in written]
    assert len(joins) >= 13
    for node in joins:
        own = [constants[name].item() for name in written[node.output[0]]]
        for name in node.input:
            assert [constants[grid].item() for grid in grids[name]] == own
