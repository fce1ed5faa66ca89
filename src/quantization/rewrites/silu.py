"""SiLU beside its convolution and by a tanh: for OpenVINO on processors with AMX.

x sigmoid(x) = y tanh(y) + y, where y = x / 2. OpenVINO knows x sigmoid(x) and computes it in the kernel of the
convolution before it, which without AMX is the fastest. AMX multiplies so fast that there the activation takes most of
such a kernel's time; in a pass of its own, and by a tanh, which needs no division, it takes a quarter of that. The half
costs nothing: OpenVINO multiplies it into the scales of the weights.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from src.quantization.graph import Links


def silu_by_tanh(model: onnx.ModelProto) -> None:
    """Compute every SiLU as y tanh(y) + y, in place; the values stay, but for the last digits of float32.

    Args:
        model: in QDQ format; its nodes are in the order of computation afterwards only if they are sorted.
    """
    graph = model.graph
    links = Links(graph)
    for sigmoid in [node for node in graph.node if node.op_type == "Sigmoid"]:
        product = links.only_reader(sigmoid, "Mul")
        if product is None or sorted(product.input) != sorted([sigmoid.input[0], sigmoid.output[0]]):
            continue
        target = product.output[0]
        half, y, tanh, y_tanh = (f"{target}_{name}" for name in ("half", "y", "tanh", "y_tanh"))
        graph.initializer.append(numpy_helper.from_array(np.float32(0.5), half))
        for operator, inputs, output in (
            ("Mul", [sigmoid.input[0], half], y),
            ("Tanh", [y], tanh),
            ("Mul", [y, tanh], y_tanh),
            ("Add", [y_tanh, y], target),
        ):
            graph.node.append(helper.make_node(operator, inputs, [output], name=output))
        graph.node.remove(sigmoid)
        graph.node.remove(product)
