"""onnxruntime_avx2: weights whose products cannot saturate, for onnxruntime on x86 processors without VNNI.

The file is that of `onnxruntime`, with larger scales where `src/delivery/saturation.py` demands it.
"""

from __future__ import annotations

from functools import partial

from src.delivery.opened import in_onnxruntime
from src.delivery.quantized import READING, write_without_saturation
from src.delivery.target import Target, foreign_to_vnni

TARGET = Target(
    file="int8.onnx",
    runtime="onnxruntime",
    suits="onnxruntime on x86 processors without VNNI (AVX2, or AVX-512 without VNNI)",
    reading=READING,
    write=partial(write_without_saturation, target="onnxruntime"),
    open=in_onnxruntime,
    foreign=foreign_to_vnni,
)
