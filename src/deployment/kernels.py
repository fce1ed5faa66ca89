"""Which kernels onnxruntime really runs, by counting in the graph that it makes of a network.

A quantized convolution is fused into an integer kernel only where its surroundings allow it; else it is computed in
float, with conversions on top, and the "INT8" network is slower than the float one. So it is counted, never believed.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime

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
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimized)
        # What it warns of, that the graph suits this machine alone, is what is asked for.
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        operators = [node.op_type for node in onnx.load(optimized).graph.node]
    return Convolutions(
        integer=sum(operator in _INTEGER for operator in operators),
        float=sum(operator in _FLOAT for operator in operators),
    )
