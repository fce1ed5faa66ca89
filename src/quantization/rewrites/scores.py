"""The sigmoid of class scores where a level's convolution puts them out, not where all levels are joined.

A sigmoid does not care where it is computed; runtimes fuse it into the convolution before it.
"""

from __future__ import annotations

import onnx
from onnx import helper

from src.quantization.graph import Links
from src.quantization.rewrites.levels import flattened


def scores_by_level(model: onnx.ModelProto) -> None:
    """Move every sigmoid behind joined levels before their flattening, in place; the values stay.

    Args:
        model: a quantized detector; its nodes are in the order of computation afterwards only if they are sorted.
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
