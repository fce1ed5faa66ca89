"""Where a detector's head joins its levels.

The head of an exported detector flattens the output of each level (P3, P4, P5) to (N, C, locations), joins the levels,
and then decodes. After the flattening a runtime no longer uses the memory layout of its convolutions, and fuses nothing
into them. So rewrites move operators to the levels, before the flattening.
"""

from __future__ import annotations

import onnx

from src.deployment.links import Links


def flattened(joined: str, links: Links) -> list[onnx.NodeProto]:
    """Return the Reshape of each level that a Concat joins to the tensor `joined`; none if it is not made like that.

    None either if another node reads the flattened levels, or more than one node reads `joined`.
    """
    concat = links.producers.get(joined)
    alone = len(links.readers[joined]) == 1 and joined not in links.outputs
    if concat is None or concat.op_type != "Concat" or not alone:
        return []
    found = [links.producers[name] for name in concat.input if name in links.producers]
    levels = [node for node in found if node.op_type == "Reshape" and links.only_reader(node, "Concat") is not None]
    return levels if len(levels) == len(concat.input) else []
