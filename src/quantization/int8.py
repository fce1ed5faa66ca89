"""A static INT8 graph from a float graph and the ranges of its activations.

onnxruntime's quantizer rewrites the graph. It is called as `quantize_static` calls it, but with ranges that stage
calibrate saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from src.deployment.graph import copy_to_quantize, float_head, keep_metadata, remove_unused, with_activation
from src.foundation.errors import SettingError
from src.quantization.ranges.calibration import Range
from src.quantization.setting import Setting
from src.quantization.shared_ranges import share_ranges
from src.quantization.targets import TARGETS

_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


def quantize_network(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    setting: Setting,
    *,
    only: Sequence[str] = (),
    in_float: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return a copy of `model` in INT8, with the same inputs, outputs and metadata.

    Args:
        model: a float network.
        ranges: (low, high) of every float activation, by name.
        setting: types, granularity, format and target.
        only: names of the only nodes to quantize; empty: all nodes that can be quantized.
        in_float: names of convolutions that stay in float together with their activation, besides the head. If only the
            convolution stayed in float between quantized tensors, onnxruntime would still run it in integers.

    Raises:
        SettingError: two settings contradict each other.
    """
    for key, fault in setting.contradictions():
        raise SettingError(key, fault)
    prepared = copy_to_quantize(model)
    float_nodes = _float_nodes(prepared, setting, in_float)
    _keep_from_fusing(prepared, float_nodes)
    quantized = _quantized(prepared, share_ranges(prepared, ranges), setting, only, float_nodes)
    for rewrite in TARGETS[setting.target].rewrites:
        rewrite(quantized)
    remove_unused(quantized)
    keep_metadata(model, quantized)
    return quantized


def _float_nodes(model: onnx.ModelProto, setting: Setting, in_float: Sequence[str]) -> list[str]:
    """Return the names of the nodes that stay in float."""
    head = [node.name for node in float_head(model)] if setting.float_head else []
    return head + [name for layer in in_float for name in with_activation(model, layer)]


def _keep_from_fusing(model: onnx.ModelProto, float_nodes: Sequence[str]) -> None:
    """Write each ReLU that stays in float as the maximum with zero, in place.

    Between a float convolution and a QuantizeLinear, onnxruntime would remove the ReLU. It would then quantize the
    convolution's weights itself and run an integer kernel.
    """
    for node in model.graph.node:
        if node.op_type == "Relu" and node.name in float_nodes:
            zero = numpy_helper.from_array(np.zeros((), dtype=np.float32), f"{node.output[0]}_zero")
            model.graph.initializer.append(zero)
            node.op_type = "Max"
            node.input.append(zero.name)


def _quantized(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    setting: Setting,
    only: Sequence[str],
    float_nodes: Sequence[str],
) -> onnx.ModelProto:
    """Return the graph that onnxruntime's quantizer makes of a model."""
    target = TARGETS[setting.target]
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
    shared: dict[str, Any] = {
        "per_channel": setting.per_channel,
        "reduce_range": False,
        "weight_qType": _TYPES[setting.weight_type],
        "activation_qType": _TYPES[setting.activation_type],
        "tensors_range": TensorsData(CalibrationMethod.MinMax, data),
        "nodes_to_quantize": list(only),
        "nodes_to_exclude": list(float_nodes),
        "op_types_to_quantize": sorted({*QDQRegistry, *QLinearOpsRegistry} - target.float_operators),
        "extra_options": {
            "ActivationSymmetric": setting.symmetric_activations,
            "WeightSymmetric": setting.symmetric_weights,
            "OpTypesToExcludeOutputQuantization": list(target.float_outputs),
        },
    }
    quantizer: ONNXQuantizer | QDQQuantizer
    if setting.format == "qoperator":
        quantizer = ONNXQuantizer(model, mode=QuantizationMode.QLinearOps, static=True, **shared)
    else:
        quantizer = QDQQuantizer(model, **shared)
    quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
