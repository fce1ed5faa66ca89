"""The expectation that DFL takes over its distributions, without a softmax.

A side of a box is sum_k k p_k, where p is the softmax of logits x ("Generalized Focal Loss", arXiv 2006.04388, equation
4), so sum_k k exp(x_k) / sum_k exp(x_k), and one convolution computes both sums. onnxruntime transposes for a softmax
whose axis is not the last: in INT8 detectors of 320 px it took longer than any other node, a sixth of the time.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel

GREATEST_LOGIT = np.float32(80)
"""exp of a few more would not fit into float32. A softmax of such logits has long decided."""


def without_softmax(model: onnx.ModelProto) -> None:
    """Replace every softmax that only an expectation reads, and this expectation, in place; the values stay.

    An expectation is a convolution over the axis of the softmax with the weights 0, 1, 2, ...
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        readers = [node for node in graph.node if softmax.output[0] in node.input]
        weights = _expectation_weights(readers[0], constants) if len(readers) == 1 else None
        if weights is None or helper.get_node_attr_value(softmax, "axis") != 1:
            continue
        _add_sums(graph, softmax.input[0], weights, readers[0].output[0])
        for node in (softmax, readers[0]):
            graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for name, tensor in constants.items():
        if name not in read:
            graph.initializer.remove(tensor)
    ONNXModel(model).topological_sort()


def _expectation_weights(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> NDArray[np.float32] | None:
    """Return the weights (1, n, 1, 1) of a convolution that takes expectations, None for any other node."""
    if node.op_type != "Conv" or len(node.input) != 2 or node.input[1] not in constants:
        return None
    weights = numpy_helper.to_array(constants[node.input[1]])
    outputs, values = weights.shape[:2]
    return weights if outputs == 1 and np.array_equal(weights.ravel(), np.arange(values)) else None


def _add_sums(graph: onnx.GraphProto, logits: str, weights: NDArray[np.float32], target: str) -> None:
    """Add what computes `target` from the tensor of logits."""
    constants = {
        "least": -GREATEST_LOGIT,
        "greatest": GREATEST_LOGIT,
        "weights": np.concatenate([weights, np.ones_like(weights)]),
        "sizes": np.array([1, 1]),
    }
    name = {key: f"{target}_{key}" for key in (*constants, "clipped", "exp", "sums", "dividend", "divisor")}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name[key]) for key, value in constants.items())
    for operator, inputs, outputs, attributes in (
        ("Clip", [logits, name["least"], name["greatest"]], [name["clipped"]], {}),
        ("Exp", [name["clipped"]], [name["exp"]], {}),
        ("Conv", [name["exp"], name["weights"]], [name["sums"]], {}),
        ("Split", [name["sums"], name["sizes"]], [name["dividend"], name["divisor"]], {"axis": 1}),
        ("Div", [name["dividend"], name["divisor"]], [target], {}),
    ):
        graph.node.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))
