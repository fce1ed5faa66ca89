"""The nodes of an ONNX graph that write and read each tensor."""

from __future__ import annotations

from collections import defaultdict

import onnx


class Links:
    """The writers and readers of a graph's tensors. Later changes of the graph are not included.

    Attributes:
        constants: the initializers, by name.
        outputs: the names of the graph's outputs.
        producers: the node that writes each tensor.
        readers: the nodes that read each tensor.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.outputs = {output.name for output in graph.output}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.readers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)

    def sole_reader(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that reads a tensor, if it is the only one and the tensor is not an output of the graph."""
        readers = self.readers[tensor]
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def only_reader(self, node: onnx.NodeProto | None, kind: str) -> onnx.NodeProto | None:
        """Return the only reader of the outputs of `node`, if it is of this kind and the graph does not output them."""
        if node is None or not self.outputs.isdisjoint(node.output):
            return None
        readers = [reader for name in node.output for reader in self.readers[name]]
        return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None

    def only_source(self, node: onnx.NodeProto | None, kind: str) -> onnx.NodeProto | None:
        """Return the node that writes the first input of `node`, if it is of this kind and has no other reader."""
        source = None if node is None else self.producers.get(node.input[0])
        if source is None or node is None or source.op_type != kind:
            return None
        return source if self.only_reader(source, node.op_type) is not None else None
