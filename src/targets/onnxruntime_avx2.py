"""onnxruntime_avx2: weights whose products cannot saturate, for x86 processors without VNNI.

The file is that of `onnxruntime`, with larger scales where `src/delivery/saturation.py` demands it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from src.delivery.opened import in_onnxruntime
from src.delivery.quantized import READING, quantized
from src.delivery.saturation import keep_from_saturating, saturating
from src.delivery.target import VNNI, Source, Target
from src.foundation.errors import UserError


def write(source: Source, file: Path) -> None:
    """Write the file.

    Raises:
        UserError: the weights are not signed, or a convolution can saturate all the same.
    """
    if source.setting.weight_type != "int8":
        raise UserError(f"weight_type must be int8, got {source.setting.weight_type}")
    model = quantized(source, "onnxruntime", form="qdq")
    keep_from_saturating(model, source.network.model)
    if left := saturating(model):
        raise UserError(f"{len(left)} convolutions can saturate, such as {left[0]}")
    onnx.save(model, file)


def foreign(flags: Sequence[str]) -> str | None:
    """Return why a time measured on this processor is that of other kernels."""
    return "this processor has VNNI and runs other kernels" if VNNI & set(flags) else None


TARGET = Target(
    file="int8.onnx",
    runtime="onnxruntime",
    suits="onnxruntime on x86 processors without VNNI (AVX2, or AVX-512 without VNNI)",
    reading=READING,
    write=write,
    open=in_onnxruntime,
    foreign=foreign,
)
