"""SiLU computed with a tanh, outside the kernel of its convolution: for OpenVINO on processors with AMX.

x sigmoid(x) = y tanh(y) + y, where y = x / 2. OpenVINO recognises x sigmoid(x) and computes it in the kernel of the
convolution before it, which is the fastest way without AMX. AMX multiplies so fast that the activation takes most of
that kernel's time. As a separate pass, and with a tanh, which needs no division, it takes a quarter of that. The factor
1/2 costs nothing: OpenVINO multiplies it into the scales of the weights.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from src.deployment.links import Links


def silu_by_tanh(model: onnx.ModelProto) -> None:
    """Compute every SiLU as y tanh(y) + y, in place. Values change at most in the last digits of float32.

    Args:
        model: in QDQ format. The caller has to sort its nodes afterwards.
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
