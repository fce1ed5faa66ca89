"""Operators that only move values run on integers, without Q/DQ around them: Concat, Split, MaxPool, Resize and others.

Between a DequantizeLinear and a QuantizeLinear on the same grid, such an operator returns its integers unchanged.
onnxruntime removes these pairs by itself. OpenVINO rounds every value again if zero points are not zero, which takes 5%
of the time of a yolov8n.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import numpy_helper

from src.deployment.graph import moved_inputs
from src.deployment.links import Links


def moves_on_integers(model: onnx.ModelProto) -> None:
    """Let moving operators whose tensors are all on one grid read and write integers, in place. No value changes.

    Args:
        model: in QDQ format, its nodes in the order of computation.
    """
    graph = model.graph
    links = Links(graph)

    def grid(node: onnx.NodeProto) -> Any:
        return [numpy_helper.to_array(links.constants[name]).tolist() for name in node.input[1:3]]

    for node in list(graph.node):
        moved = moved_inputs(node)
        before = [links.producers[name] for name in moved if name in links.producers]
        after = [reader for name in node.output for reader in links.readers[name]]
        between_integers = (
            len(before) == len(moved)
            and {source.op_type for source in before} == {"DequantizeLinear"}
            and {reader.op_type for reader in after} == {"QuantizeLinear"}
            and links.outputs.isdisjoint(node.output)
        )
        if not between_integers or any(grid(other) != grid(before[0]) for other in (*before, *after)):
            continue
        for index, source in enumerate(before):
            node.input[index] = source.input[0]
        for quantizer in after:
            for reader in links.readers[quantizer.output[0]]:
                reader.input[0] = quantizer.input[0]
            graph.node.remove(quantizer)
    read = {name for node in graph.node for name in node.input} | links.outputs
    for node in list(graph.node):
        if node.op_type == "DequantizeLinear" and node.output[0] not in read:
            graph.node.remove(node)
