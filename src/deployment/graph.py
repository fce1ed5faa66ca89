"""Parts of a detector's ONNX graph, found by its structure: names differ between exporters."""

from __future__ import annotations

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel

from src.deployment.links import Links

# Operators that do not change values.
_RESHAPING = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Identity"}

_MOVING = {"Concat", "MaxPool", "Reshape", "Resize", "Slice", "Split", "Transpose"}
"""Operators whose outputs hold values of their inputs, so both can be on one grid."""

_ACTIVATIONS = {"Sigmoid", "Mul", "Relu", "HardSigmoid", "HardSwish", "Clip"}
"""The operators of activation functions. SiLU is a Sigmoid and a Mul that both read the convolution."""


def copy_to_quantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that is prepared for quantization.

    Nodes have unique names, constants are initializers, and no two convolutions share a bias.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    own_constants(copy)
    name_nodes(copy)
    return copy


def keep_metadata(source: onnx.ModelProto, target: onnx.ModelProto) -> None:
    """Replace the metadata of `target` with that of `source`: ultralytics reads class names, stride and size there."""
    del target.metadata_props[:]
    target.metadata_props.extend(source.metadata_props)


def sort_nodes(model: onnx.ModelProto) -> None:
    """Sort the nodes into the order of computation, in place."""
    ONNXModel(model).topological_sort()


def remove_unused(model: onnx.ModelProto) -> None:
    """Remove constants that no node reads, in place, and the stored tensor shapes, whose tensors may be gone."""
    ONNXModel(model).remove_unused_constant()
    del model.graph.value_info[:]


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a unique name, in place: onnxruntime's quantizer identifies nodes by name."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)


def own_constants(model: onnx.ModelProto) -> None:
    """Give every convolution its own bias and make all constants initializers, in place.

    Exporters share equal biases between convolutions and write constants as Constant and Identity nodes. A bias is
    quantized with the scale of its convolution's input, so a shared bias would be right for only one convolution (this
    happens in onnxruntime's QOperator format). Only initializers are recognised as constants.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept, biases = [], set()
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            _add_initializer(graph, constants, node.attribute[0].t, node.output[0])
        elif node.op_type == "Identity" and node.input[0] in constants:
            _add_initializer(graph, constants, constants[node.input[0]], node.output[0])
        else:
            kept.append(node)
    for index, node in enumerate(kept):
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in constants:
            if node.input[2] in biases:
                own = f"{node.input[2]}_of_{index}"
                _add_initializer(graph, constants, constants[node.input[2]], own)
                node.input[2] = own
            biases.add(node.input[2])
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)


def _add_initializer(
    graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto], value: onnx.TensorProto, name: str
) -> None:
    constants[name] = graph.initializer.add()
    constants[name].CopyFrom(value)
    constants[name].name = name


def activations(model: onnx.ModelProto) -> list[str]:
    """Return the names of all tensors that depend on the graph's input, inputs first, in the order of computation."""
    constant = {tensor.name for tensor in model.graph.initializer}
    found = {tensor.name: None for tensor in model.graph.input if tensor.name not in constant}
    for node in model.graph.node:
        if any(name in found for name in node.input):
            found.update({name: None for name in node.output if name})
    return list(found)


def moved_inputs(node: onnx.NodeProto) -> list[str]:
    """Return the inputs whose values a node only moves; an empty list for a node that computes.

    >>> moved_inputs(onnx.helper.make_node("Concat", ["a", "b"], ["joined"], axis=1))
    ['a', 'b']
    >>> moved_inputs(onnx.helper.make_node("Conv", ["x", "weights"], ["y"]))
    []
    """
    interpolates = any(attribute.name == "mode" and attribute.s != b"nearest" for attribute in node.attribute)
    if node.op_type not in _MOVING or (node.op_type == "Resize" and interpolates):
        return []
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])


def float_head(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes after the detector's last learned convolutions, in the order of the graph.

    These decode boxes and scores: the softmax of DFL and its convolution, the anchors and the product with the strides,
    the sigmoid, the final Concat. One scale over pixels (0 to 640) and probabilities (0 to 1) rounds every score to
    zero, the usual cause of mAP 0. So these nodes stay in float.

    The search goes back from the outputs and stops at convolutions. It passes only the convolution of DFL, which takes
    the expectation over a softmax: its weights are the constants 0, 1, 2, ... and not learned.
    """
    producers = Links(model.graph).producers
    tail: set[int] = set()
    waiting = [producers[output.name] for output in model.graph.output if output.name in producers]
    while waiting:
        node = waiting.pop()
        if id(node) in tail or (node.op_type == "Conv" and not _reads_softmax(node, producers)):
            continue
        tail.add(id(node))
        # A Shape reads only the size of its input.
        if node.op_type != "Shape":
            waiting.extend(producers[name] for name in node.input if name in producers)
    return [node for node in model.graph.node if id(node) in tail]


def head_inputs(model: onnx.ModelProto) -> list[str]:
    """Return the names of the tensors that the float head reads, the outputs of the last learned convolutions."""
    head = float_head(model)
    inside = {name for node in head for name in node.output}
    computed = set(activations(model)) - {tensor.name for tensor in model.graph.input}
    read = [name for node in head for name in node.input if name in computed - inside]
    return list(dict.fromkeys(read))


def learned_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions before the float head, in the order of the graph.

    The names are the same as in `quantize_network`.
    """
    named = copy_to_quantize(model)
    head = {node.name for node in float_head(named)}
    return [node.name for node in named.graph.node if node.op_type == "Conv" and node.name not in head]


def with_activation(model: onnx.ModelProto, layer: str) -> list[str]:
    """Return the names of a convolution's node and of its activation's nodes, if nothing else reads the convolution."""
    [convolution] = [node for node in model.graph.node if node.name == layer]
    readers = Links(model.graph).readers[convolution.output[0]]
    activation = readers if {node.op_type for node in readers} <= _ACTIVATIONS else []
    return [layer, *(node.name for node in activation)]


def _reads_softmax(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> bool:
    source = producers.get(node.input[0])
    while source is not None and source.op_type in _RESHAPING:
        source = producers.get(source.input[0])
    return source is not None and source.op_type == "Softmax"
