"""The form of an INT8 graph for each runtime: operators that stay in float, and rewrites in their order.

onnxruntime makes an integer kernel of a convolution only if its output is quantized directly. OpenVINO computes a
convolution, its SiLU and one rounding in one kernel, so no Q/DQ may be between these; with AMX it is faster to keep the
SiLU out of that kernel (`rewrites/silu.py`). A graph for OpenVINO is slower than float in onnxruntime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from src.deployment.graph import sort_nodes
from src.quantization.rewrites.expectation import expectations_by_level
from src.quantization.rewrites.integer_moves import moves_on_integers
from src.quantization.rewrites.scores import scores_by_level
from src.quantization.rewrites.silu import silu_by_tanh


@dataclass(frozen=True)
class Target:
    """The form of an INT8 graph for a runtime.

    Attributes:
        rewrites: applied to the quantized graph in place, in this order.
        float_operators: operator types that are not quantized.
        float_outputs: operator types whose outputs are not quantized.
        formats: the formats that the runtime computes in integers.
    """

    rewrites: tuple[Callable[[onnx.ModelProto], None], ...]
    float_operators: frozenset[str] = frozenset()
    float_outputs: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("qdq",)


TARGETS = {
    "onnxruntime": Target(
        rewrites=(expectations_by_level, scores_by_level, sort_nodes),
        formats=("qdq", "qoperator"),
    ),
    "openvino": Target(
        rewrites=(expectations_by_level, scores_by_level, sort_nodes, moves_on_integers),
        float_operators=frozenset({"Sigmoid", "Mul"}),
        float_outputs=("Conv",),
    ),
    "openvino_amx": Target(
        rewrites=(expectations_by_level, scores_by_level, silu_by_tanh, sort_nodes, moves_on_integers),
        float_operators=frozenset({"Sigmoid", "Mul"}),
        float_outputs=("Conv",),
    ),
}
