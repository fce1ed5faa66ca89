"""The sigmoid of class scores directly after each level's convolution, instead of after the Concat of the levels.

The values are the same, and runtimes fuse the sigmoid into the convolution.
"""

from __future__ import annotations

import onnx
from onnx import helper

from src.deployment.links import Links
from src.quantization.rewrites.levels import flattened


def scores_by_level(model: onnx.ModelProto) -> None:
    """Move every sigmoid that reads concatenated levels before their flattening, in place. No value changes.

    Args:
        model: a quantized detector. The caller has to sort its nodes afterwards.
    """
    graph = model.graph
    links = Links(graph)
    for sigmoid in [node for node in graph.node if node.op_type == "Sigmoid"]:
        levels = flattened(sigmoid.input[0], links)
        for reshape in levels:
            score = f"{reshape.input[0]}_score"
            graph.node.append(helper.make_node("Sigmoid", [reshape.input[0]], [score], name=score))
            reshape.input[0] = score
        if levels:
            links.producers[sigmoid.input[0]].output[0] = sigmoid.output[0]
            graph.node.remove(sigmoid)
