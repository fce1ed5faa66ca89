"""ONNX files as stage quantize makes them: with a float head, for one runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from src.delivery.target import Source
from src.quantization.calibrated_network import LayerRanking
from src.quantization.targets import TARGETS

READING = (
    "one output, float: box centre x, y, width and height in px of the square, then a score in [0, 1] per class, for "
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


def write_quantized(source: Source, file: Path, target: str) -> None:
    """Write the file of a target of stage quantize."""
    onnx.save(quantized(source, target), file)
