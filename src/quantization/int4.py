"""4-bit weights with float arithmetic: a control, the smallest file.

A weight is r = S q, with one scale per output channel and q in [-7, 7]; onnxruntime's own quantizer rounds and packs
the weights. onnxruntime has 4-bit kernels for matrix products only. So it converts the weights of convolutions to float
in every run, and nothing gets faster. Scales per block of input channels lose less accuracy. But with blocks that are
small enough to lose little, the file is larger than INT8.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnxruntime.quantization.quant_utils import compute_scale_zp, quantize_onnx_initializer

from src.deployment.graph import copy_to_quantize, float_head, keep_metadata

FIRST_OPSET = 21
"""The first opset of ONNX whose DequantizeLinear reads 4-bit integers."""

GREATEST = np.array(7, dtype=np.int8)
"""The greatest of the integers. -8 is not used, so that the grid is symmetric."""


def to_int4_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` with 4-bit weights in its learned convolutions and everything else in float."""
    prepared = copy_to_quantize(model)
    head = {node.name for node in float_head(prepared)}
    quantized: onnx.ModelProto = version_converter.convert_version(prepared, FIRST_OPSET)
    graph = quantized.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    learned = [node for node in graph.node if node.op_type == "Conv" and node.name not in head]
    restored = []
    for name in dict.fromkeys(node.input[1] for node in learned):
        weights = constants[name]
        scales = _scales(numpy_helper.to_array(weights))
        zeros = np.zeros(len(scales), dtype=np.int8)
        integers = quantize_onnx_initializer(weights, TensorProto.INT4, zeros, scales, axis=0)
        scale = numpy_helper.from_array(scales, f"{name}_scale")
        graph.initializer.remove(weights)
        graph.initializer.extend([integers, scale])
        inputs = [integers.name, scale.name]
        restored.append(helper.make_node("DequantizeLinear", inputs, [name], f"{name}_float", axis=0))
    nodes = [*restored, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)
    keep_metadata(model, quantized)
    return quantized


def _scales(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return S of each output channel of weights (out, in, height, width)."""
    scales = [compute_scale_zp(one.min(), one.max(), -GREATEST, GREATEST, symmetric=True)[1] for one in weights]
    return np.array(scales, dtype=np.float32)
