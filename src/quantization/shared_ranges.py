"""One shared range for all tensors that are connected by operators that only move values.

A Concat of tensors on different grids has to round every value to one grid. If all share a grid, it copies. Its inputs
and its readers (Split, MaxPool, Resize) share the grid too, so that no value is rounded again on its way.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from src.deployment.graph import float_head, moved_inputs
from src.quantization.ranges.calibration import Range


def share_ranges(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Return the ranges; tensors that moving operators connect get the union of their ranges.

    The tensors that the float head writes keep their ranges.

    Args:
        model: a float network.
        ranges: (low, high) by tensor.
    """
    head = {name for node in float_head(model) for name in node.output}
    groups: dict[str, set[str]] = {name: {name} for name in ranges}
    for node in model.graph.node:
        moved = moved_inputs(node)
        if moved and node.output[0] not in head:
            joined = {other for name in (*moved, *node.output) if name in groups for other in groups[name]}
            groups.update(dict.fromkeys(joined, joined))
    return {
        name: (min(ranges[other][0] for other in group), max(ranges[other][1] for other in group))
        for name, group in groups.items()
    }
