from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel

from src.quantization.int8 import quantize_network
from src.quantization.rewrites.scores import scores_by_level
from tests.quantization.networks import SETTING, random_images
from tests.quantization.test_int8 import ranges_of

CLASSES = 3
SIDES = {"large": 4, "small": 2}


def head(*, read_twice: str = "", graph_output: str = "") -> onnx.ModelProto:
    """Return the graph of a head that joins the logits of two levels and takes their sigmoid."""
    nodes = [helper.make_node("Reshape", [name, "flat"], [f"{name}_flat"]) for name in SIDES]
    nodes.append(helper.make_node("Concat", [f"{name}_flat" for name in SIDES], ["joined"], axis=2))
    nodes.append(helper.make_node("Sigmoid", ["joined"], ["scores"]))
    outputs = ["scores", graph_output] if graph_output else ["scores"]
    if read_twice:
        nodes.append(helper.make_node("Relu", [read_twice], ["again"]))
        outputs.append("again")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CLASSES, side, side]) for name, side in SIDES.items()
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.array([1, CLASSES, -1]), "flat")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_scores_keep_their_values_and_are_computed_per_level() -> None:
    model = head()
    random = np.random.default_rng(0)
    logits = {name: random.normal(0, 3, (1, CLASSES, n, n)).astype(np.float32) for name, n in SIDES.items()}
    joined = np.concatenate([value.reshape(1, CLASSES, -1) for value in logits.values()], axis=2)
    scores_by_level(model)
    ONNXModel(model).topological_sort()
    assert sorted(node.op_type for node in model.graph.node) == ["Concat", *["Reshape"] * 2, *["Sigmoid"] * 2]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["scores"], logits)[0], 1 / (1 + np.exp(-joined)), atol=1e-6)


@pytest.mark.parametrize("reason", ["read_twice", "graph_output"])
@pytest.mark.parametrize("name", ["large_flat", "joined"])
def test_logits_with_other_readers_stay(name: str, reason: str) -> None:
    model = head(**{reason: name})
    before = model.SerializeToString()
    scores_by_level(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("kind", ["yolov8n", "yolo11n"])
def test_detectors_have_no_sigmoid_after_concatenated_levels(
    networks: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    model = onnx.load(networks[kind])
    int8 = quantize_network(model, ranges_of(model, random_images(tmp_path, 2)), SETTING)
    for graph, joined in ((model.graph, 1), (int8.graph, 0)):
        written = {name: node.op_type for node in graph.node for name in node.output}
        read = [written[node.input[0]] for node in graph.node if node.op_type == "Sigmoid"]
        assert read.count("Concat") == joined
