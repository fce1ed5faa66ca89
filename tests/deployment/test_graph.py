import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.deployment.graph import activations, float_head, name_nodes, own_constants

KINDS = ["yolov8n", "yolo11n", "yolo26n", "yolov8n of one class"]


def learned_convolutions_before(tail: list[onnx.NodeProto], model: onnx.ModelProto) -> list[onnx.NodeProto]:
    read_by_tail = {name for node in tail for name in node.input}
    in_tail = {node.output[0] for node in tail}
    return [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and node.output[0] in read_by_tail and node.output[0] not in in_tail
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_begins_after_the_six_output_convolutions(kind: str, networks: dict[str, Path]) -> None:
    model = onnx.load(networks[kind])
    tail = float_head(model)
    operators = [node.op_type for node in tail]
    classes = 1 if "one class" in kind else 3
    box_channels = 4 if kind == "yolo26n" else 64  # YOLO26 has no DFL
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    channels = sorted(shapes[node.input[1]][0] for node in learned_convolutions_before(tail, model))
    assert channels == [classes] * 3 + [box_channels] * 3
    assert operators.count("Conv") == operators.count("Softmax") == (0 if kind == "yolo26n" else 1)
    assert operators[-1] == "Concat"
    assert operators.count("Sigmoid") == 1
    assert len(tail) < 40


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_is_found_with_random_names(kind: str, networks: dict[str, Path]) -> None:
    model = onnx.load(networks[kind])
    expected = [index for index, node in enumerate(model.graph.node) if node in float_head(model)]
    shuffled = random.Random(0)
    names: dict[str, str] = {}
    for node in model.graph.node:
        node.name = f"{shuffled.getrandbits(64):x}"
        for slots in (node.input, node.output):
            slots[:] = [names.setdefault(name, f"{shuffled.getrandbits(64):x}") if name else "" for name in slots]
    for tensor in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        tensor.name = names.get(tensor.name, tensor.name)
    tail = {node.name for node in float_head(model)}
    assert [index for index, node in enumerate(model.graph.node) if node.name in tail] == expected


def test_nodes_get_unique_names() -> None:
    nodes = [helper.make_node("Relu", ["a"], ["b"], name="same"), helper.make_node("Relu", ["b"], ["c"], name="same")]
    model = helper.make_model(helper.make_graph([*nodes, helper.make_node("Relu", ["c"], ["d"])], "g", [], []))
    name_nodes(model)
    assert [node.name for node in model.graph.node] == ["same", "Relu_1", "Relu_2"]


def network_with_hidden_constants() -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.ones((2, 2, 1, 1), "float32"), "w")
    bias = numpy_helper.from_array(np.ones(2, "float32"), "b")
    two = helper.make_tensor("", TensorProto.FLOAT, [1], [2.0])
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["b"], ["b_again"]),
            helper.make_node("Constant", [], ["two"], value=two),
            helper.make_node("Conv", ["x", "w", "b"], ["y1"]),
            helper.make_node("Conv", ["y1", "w", "b"], ["y2"]),
            helper.make_node("Conv", ["y2", "w", "b_again"], ["y3"]),
            helper.make_node("Mul", ["y3", "two"], ["out"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 2, 4, 4])],
        [weights, bias],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_every_convolution_gets_its_own_bias_and_constants_become_initializers() -> None:
    model = network_with_hidden_constants()
    own_constants(model)
    onnx.checker.check_model(model, full_check=True)
    biases = [node.input[2] for node in model.graph.node if node.op_type == "Conv"]
    initializers = {tensor.name for tensor in model.graph.initializer}
    assert len(set(biases)) == 3
    assert {*biases, "two"} <= initializers
    assert [node.op_type for node in model.graph.node] == ["Conv", "Conv", "Conv", "Mul"]


def test_activations_are_the_tensors_that_depend_on_the_input() -> None:
    assert activations(network_with_hidden_constants()) == ["x", "y1", "y2", "y3", "out"]
