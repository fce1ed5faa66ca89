"""ONNX files as stage quantize makes them: with a float head, for one runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from src.delivery.saturation import keep_from_saturating, saturating
from src.delivery.target import Source
from src.foundation.errors import UserError
from src.quantization.calibrated_network import LayerRanking
from src.quantization.targets import TARGETS

READING = (
    "one output, float: box centre x, y, width and height in px of the input, then a score in [0, 1] per class, for "
    "each location; suppress double boxes afterwards"
)


def quantized(source: Source, target: str, form: str | None = None) -> onnx.ModelProto:
    """Return the network in INT8 in the form of a target of stage quantize.

    Args:
        source: the network and how it is quantized.
        target: such as `openvino`.
        form: qdq or qoperator; None: the setting's own, or qdq where the target has no other.
    """
    format_ = form or source.setting.format
    setting = replace(source.setting, target=target, format=format_ if format_ in TARGETS[target].formats else "qdq")
    return source.network.quantized(setting, LayerRanking(source.network, setting, source.sensitivity_images))


def write_without_saturation(source: Source, file: Path, target: str) -> None:
    """Write the file of a target of stage quantize with weights whose products cannot saturate.

    Raises:
        UserError: the weights are not signed, or a convolution can saturate all the same.
    """
    if source.setting.weight_type != "int8":
        raise UserError(f"weight_type must be int8, got {source.setting.weight_type}")
    model = quantized(source, target, form="qdq")
    keep_from_saturating(model, source.network.model)
    if left := saturating(model):
        raise UserError(f"{len(left)} convolutions can saturate, such as {left[0]}")
    onnx.save(model, file)


def write_quantized(source: Source, file: Path, target: str) -> None:
    """Write the file of a target of stage quantize."""
    onnx.save(quantized(source, target), file)
