"""openvino_avx2: weights whose products cannot saturate, for OpenVINO on x86 processors without VNNI.

The file is that of `openvino`, with larger scales where `src/delivery/saturation.py` demands it.
"""

from __future__ import annotations

from functools import partial

from src.delivery.opened import in_openvino
from src.delivery.quantized import READING, write_without_saturation
from src.delivery.target import Target, foreign_to_vnni

TARGET = Target(
    file="int8.onnx",
    runtime="OpenVINO",
    suits="OpenVINO on x86 processors without VNNI (AVX2, or AVX-512 without VNNI)",
    reading=READING,
    write=partial(write_without_saturation, target="openvino"),
    open=in_openvino,
    foreign=foreign_to_vnni,
    extra="openvino",
    packages=("openvino",),
)
