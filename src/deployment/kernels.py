"""Counts the kernels that onnxruntime really runs, in the graph that it makes of a network.

onnxruntime fuses a quantized convolution into an integer kernel only if the nodes around it allow that. Otherwise it
computes the convolution in float, with extra conversions, and the INT8 network is slower than the float network.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx

from src.deployment.session import open_session

_FLOAT = {"Conv", "FusedConv", "NhwcFusedConv"}
_INTEGER = {"QLinearConv", "ConvInteger"}


@dataclass(frozen=True)
class Convolutions:
    """How many convolutions of a network run as integer kernels, and how many in float."""

    integer: int
    float: int


def count_convolutions(network: Path) -> Convolutions:
    """Return how many convolutions of an ONNX file onnxruntime runs in integers and in float on this machine's CPU."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        open_session(network, optimized_file=optimized)
        operators = [node.op_type for node in onnx.load(optimized).graph.node]
    return Convolutions(
        integer=sum(operator in _INTEGER for operator in operators),
        float=sum(operator in _FLOAT for operator in operators),
    )
