"""A static INT8 graph from a float graph and the ranges of its activations.

onnxruntime's own quantizer does the rewriting; it is driven as `quantize_static` drives it, but with ranges that were
saved before. Two formats say the same: QDQ puts QuantizeLinear and DequantizeLinear around float nodes, for a runtime
to fuse into integer kernels, and QOperator names these kernels itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from src.foundation.errors import UserError
from src.quantization.graph import copy_to_quantize, float_head, keep_metadata, with_activation
from src.quantization.ranges.shared import share_ranges
from src.quantization.rewrites.expectation import expectations_by_level
from src.quantization.rewrites.integer_moves import move_bytes
from src.quantization.rewrites.scores import scores_by_level
from src.quantization.rewrites.silu import silu_by_tanh

_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


@dataclass(frozen=True)
class Int8:
    """How to quantize.

    Unsigned activations with signed weights is what VNNI multiplies: any other pair of types is converted at run time,
    and measured slower than not to quantize at all.

    Attributes:
        target: the runtime that the graph suits: onnxruntime, openvino, or openvino_amx, which is OpenVINO on a
            processor with AMX. Any runtime runs either file. onnxruntime makes an integer kernel of a convolution only
            if its output is quantized at once. OpenVINO computes a convolution, its SiLU and one rounding in one
            kernel, so nothing may stand between them; with AMX it is faster to keep the SiLU out of that kernel
            (silu.py). What is made for OpenVINO is slower than float in onnxruntime.
        format: qdq or qoperator.
        activation_type: uint8 or int8.
        weight_type: uint8 or int8.
        per_channel: one scale per output channel of the weights, in place of one per tensor.
        symmetric_activations: zero in the middle of the grid, in place of where the range puts it.
        symmetric_weights: the same for weights. Integer kernels want one zero point for all channels, so weights with
            a scale per channel have to be symmetric.
        float_head: keep what follows the last learned convolutions in float.
    """

    target: str
    format: str
    activation_type: str
    weight_type: str
    per_channel: bool
    symmetric_activations: bool
    symmetric_weights: bool
    float_head: bool

    @property
    def for_openvino(self) -> bool:
        """Whether Q and DQ stand where OpenVINO fuses them."""
        return self.target != "onnxruntime"


def quantize_network(
    model: onnx.ModelProto,
    ranges: dict[str, tuple[float, float]],
    how: Int8,
    *,
    only: Sequence[str] = (),
    in_float: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return `model` (left as it is) in INT8, with the same inputs, outputs and metadata.

    Tensors between which values are only moved share a range, and the head decodes level by level, without a softmax.

    Args:
        model: a float network.
        ranges: (low, high) of every float activation, by name.
        how: types, granularity, format.
        only: names of the only nodes to quantize; none: all that can be.
        in_float: names of convolutions to leave in float, besides the head, each with its activation: where both sides
            of a float convolution are quantized, onnxruntime quantizes its weights by itself and runs it in integers.

    Raises:
        UserError: onnxruntime has no kernels for these types.
    """
    if how.activation_type == "int8" and how.weight_type == "uint8":
        raise UserError(
            "quantize.weight_type must be int8 where quantize.activation_type is int8, got uint8: edit params.yaml"
        )
    if how.per_channel and not how.symmetric_weights:
        raise UserError(
            "quantize.symmetric_weights must be true where quantize.per_channel is true (integer kernels want one zero "
            "point for all channels), got false: edit params.yaml"
        )
    if how.for_openvino and how.format != "qdq":
        raise UserError(
            f"quantize.format must be qdq where quantize.target is {how.target}, got {how.format}: edit params.yaml"
        )
    op_types = {*QDQRegistry, *QLinearOpsRegistry}
    options: dict[str, Any] = {
        "ActivationSymmetric": how.symmetric_activations,
        "WeightSymmetric": how.symmetric_weights,
    }
    if how.for_openvino:
        op_types -= {"Sigmoid", "Mul"}
        options["OpTypesToExcludeOutputQuantization"] = ["Conv"]
    prepared = copy_to_quantize(model)
    excluded = [node.name for node in float_head(prepared)] if how.float_head else []
    for layer in in_float:
        excluded += with_activation(prepared, layer)
    _keep_from_fusing(prepared, excluded)
    shared_ranges = share_ranges(prepared, ranges)
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in shared_ranges.items()
    }
    shared = {
        "per_channel": how.per_channel,
        "reduce_range": False,
        "tensors_range": TensorsData(CalibrationMethod.MinMax, data),
        "nodes_to_quantize": list(only),
        "nodes_to_exclude": excluded,
        "op_types_to_quantize": sorted(op_types),
        "extra_options": options,
    }
    weights, values = _TYPES[how.weight_type], _TYPES[how.activation_type]
    quantizer: ONNXQuantizer | QDQQuantizer
    if how.format == "qoperator":
        quantizer = ONNXQuantizer(
            prepared,
            mode=QuantizationMode.QLinearOps,
            static=True,
            weight_qType=weights,
            activation_qType=values,
            **shared,
        )
    else:
        quantizer = QDQQuantizer(prepared, weight_qType=weights, activation_qType=values, **shared)
    quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    expectations_by_level(quantized)
    scores_by_level(quantized)
    if how.target == "openvino_amx":
        silu_by_tanh(quantized)
    quantizer.model.topological_sort()
    if how.for_openvino:
        move_bytes(quantized)
    quantizer.model.remove_unused_constant()
    # The quantizer leaves shapes of tensors that are gone.
    del quantized.graph.value_info[:]
    keep_metadata(model, quantized)
    return quantized


def _keep_from_fusing(model: onnx.ModelProto, in_float: Sequence[str]) -> None:
    """Write each ReLU that is to stay in float as the maximum with zero, in place.

    Between a float convolution and a QuantizeLinear onnxruntime takes a ReLU out, and then makes an integer kernel of
    the convolution, whose weights it quantizes by itself.
    """
    for node in model.graph.node:
        if node.op_type == "Relu" and node.name in in_float:
            zero = numpy_helper.from_array(np.zeros((), dtype=np.float32), f"{node.output[0]}_zero")
            model.graph.initializer.append(zero)
            node.op_type = "Max"
            node.input.append(zero.name)
