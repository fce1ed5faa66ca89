"""Half precision by onnxruntime's own converter: a control with half the file size and without calibration.

On most CPUs it is no faster: they have no float16 arithmetic, and onnxruntime converts back and forth.
"""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from src.deployment.graph import copy_to_quantize, keep_metadata


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` in float16, with inputs and outputs in float32."""
    converted: onnx.ModelProto = convert_float_to_float16(copy_to_quantize(model), keep_io_types=True)
    keep_metadata(model, converted)
    return converted
