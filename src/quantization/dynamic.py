"""Dynamic quantization: activations are quantized while the network runs, by the range that each image has.

A control: it needs no calibration, and pays for that in every layer with a pass over the values for their range and one
that brings the integers back to float. Weights have one scale per tensor: the integer convolution knows no other. By
onnxruntime's own `quantize_dynamic`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from src.quantization import graph

PREPROCESSED = {"onnx.infer": "onnxruntime.quant"}
"""What onnxruntime looks for before it advises its own preprocessing, which ours replaces."""


def quantize_dynamically(model: onnx.ModelProto, *, float_head: bool) -> onnx.ModelProto:
    """Return `model` (left as it is) with convolutions in integers whose activations are quantized at run time.

    Args:
        model: a float network.
        float_head: keep what follows the last learned convolutions in float.
    """
    prepared = graph.copy_to_quantize(model)
    onnx.helper.set_model_props(prepared, PREPROCESSED)
    with tempfile.TemporaryDirectory(prefix="dynamic-") as scratch:
        path = Path(scratch) / "dynamic.onnx"
        quantize_dynamic(
            prepared,
            path,
            op_types_to_quantize=["Conv"],
            # With signed weights onnxruntime has no kernel for ConvInteger.
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=[node.name for node in graph.float_head(prepared)] if float_head else [],
        )
        quantized = onnx.load(path)
    graph.keep_metadata(model, quantized)
    return quantized
