"""What only moves values moves bytes: no conversion to float and back around Concat, Split, MaxPool or Resize.

Between a DequantizeLinear and a QuantizeLinear of one grid a moving operator gives out what it was given. onnxruntime
sees that by itself; OpenVINO, where zero points are not zero, rounds every byte anew: 5% of the time of a yolov8n.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import onnx
from onnx import numpy_helper

from src.quantization.graph import moved_inputs


def move_bytes(model: onnx.ModelProto) -> None:
    """Let moving operators between integers of one grid read and write these integers, in place; the values stay.

    Args:
        model: in QDQ format, its nodes in the order of computation.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)

    def grid(node: onnx.NodeProto) -> Any:
        return [numpy_helper.to_array(constants[name]).tolist() for name in node.input[1:3]]

    for node in list(graph.node):
        before = [producers.get(name) for name in moved_inputs(node)]
        after = [reader for name in node.output for reader in readers[name]]
        if not before or not after or any(source is None or source.op_type != "DequantizeLinear" for source in before):
            continue
        if any(reader.op_type != "QuantizeLinear" for reader in after):
            continue
        sources = [source for source in before if source is not None]
        if any(grid(other) != grid(sources[0]) for other in (*sources, *after)):
            continue
        for index, source in enumerate(sources):
            node.input[index] = source.input[0]
        for quantizer in after:
            for reader in readers[quantizer.output[0]]:
                reader.input[0] = quantizer.input[0]
            graph.node.remove(quantizer)
    _remove_unread(graph)


def _remove_unread(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for node in list(graph.node):
        if node.op_type == "DequantizeLinear" and node.output[0] not in read:
            graph.node.remove(node)
