"""integer_qdq: the graph of `integer` in QDQ, with integers at both ends, for the compilers of NPUs that want QDQ."""

from __future__ import annotations

from pathlib import Path

import onnx

from src.delivery.integer_graph import integer_graph
from src.delivery.target import Source, Target
from src.targets.integer import TARGET as INTEGER


def write(source: Source, file: Path) -> None:
    """Write the graph with every operator between DequantizeLinear and QuantizeLinear."""
    onnx.save(integer_graph(source.network, source.setting, "qdq"), file)


TARGET = Target(
    file="integer_qdq.onnx",
    runtime=INTEGER.runtime,
    suits="compilers of NPUs that take ONNX in QDQ",
    reading=INTEGER.reading,
    write=write,
    open=INTEGER.open,
    foreign=INTEGER.foreign,
)
