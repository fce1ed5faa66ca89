"""Where a detector's head leaves its levels: what is computed before is by level, what comes after of all places.

The head of an exported detector flattens the output of each level (P3, P4, P5) to (N, C, places), joins them, and only
then decodes. There a runtime has left the memory layout that its convolutions like, and fuses nothing into them.
"""

from __future__ import annotations

import onnx

from src.quantization.graph import Links


def flattened(joined: str, links: Links) -> list[onnx.NodeProto]:
    """Return the Reshape of each level that a Concat joins to the tensor `joined`; none if it is not made so.

    Nothing else wants the levels flattened, and one node alone wants them joined.
    """
    concat = links.producers.get(joined)
    alone = len(links.readers[joined]) == 1 and joined not in links.given_out
    if concat is None or concat.op_type != "Concat" or not alone:
        return []
    found = [links.producers[name] for name in concat.input if name in links.producers]
    levels = [node for node in found if node.op_type == "Reshape" and links.only_reader(node, "Concat") is not None]
    return levels if len(levels) == len(concat.input) else []
