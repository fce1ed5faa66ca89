"""Dynamic quantization by onnxruntime's own `quantize_dynamic`: a control.

Activations are quantized while the network runs, with the range of the current image. That needs no calibration, but
costs two more passes over the values in every layer: one finds the range, one converts the integers back to float.
Weights have one scale per tensor, because the integer convolution supports no other.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from src.deployment.graph import copy_to_quantize, keep_metadata
from src.deployment.graph import float_head as head_nodes

PREPROCESSED = {"onnx.infer": "onnxruntime.quant"}
"""This metadata turns off onnxruntime's advice to run its own preprocessing, which `copy_to_quantize` replaces."""


def quantize_dynamically(model: onnx.ModelProto, *, float_head: bool) -> onnx.ModelProto:
    """Return a copy of `model` with integer convolutions whose activations are quantized at run time.

    Args:
        model: a float network.
        float_head: keep the nodes after the last learned convolutions in float.
    """
    prepared = copy_to_quantize(model)
    onnx.helper.set_model_props(prepared, PREPROCESSED)
    with tempfile.TemporaryDirectory(prefix="dynamic-") as scratch:
        path = Path(scratch) / "dynamic.onnx"
        quantize_dynamic(
            prepared,
            path,
            op_types_to_quantize=["Conv"],
            # onnxruntime has no ConvInteger kernel for signed weights.
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=[node.name for node in head_nodes(prepared)] if float_head else [],
        )
        quantized = onnx.load(path)
    keep_metadata(model, quantized)
    return quantized
