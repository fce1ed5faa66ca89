"""Finds the Concat that joins the levels of a detector's head.

The head of an exported detector flattens the output of each level (P3, P4, P5) to (N, C, locations), concatenates the
levels, and then decodes. After the flattening a runtime no longer uses the memory layout of its convolutions and fuses
nothing into them. So the rewrites move operators to the levels, before the flattening.
"""

from __future__ import annotations

import onnx

from src.deployment.links import Links


def flattened(joined: str, links: Links) -> list[onnx.NodeProto]:
    """Return the Reshape of each level, if a Concat of these levels writes the tensor `joined`; else an empty list.

    The list is also empty if another node reads a flattened level, if `joined` is an output of the graph, or if it does
    not have exactly one reader.
    """
    concat = links.producers.get(joined)
    alone = len(links.readers[joined]) == 1 and joined not in links.outputs
    if concat is None or concat.op_type != "Concat" or not alone:
        return []
    found = [links.producers[name] for name in concat.input if name in links.producers]
    levels = [node for node in found if node.op_type == "Reshape" and links.only_reader(node, "Concat") is not None]
    return levels if len(levels) == len(concat.input) else []
