"""openvino: integer convolutions with their SiLU in one kernel, and a float head: for OpenVINO on x86."""

from __future__ import annotations

from functools import partial

from src.delivery.opened import in_openvino
from src.delivery.quantized import READING, write_quantized
from src.delivery.target import Target

TARGET = Target(
    file="int8.onnx",
    runtime="OpenVINO",
    suits="OpenVINO on x86 processors without AMX",
    reading=READING,
    write=partial(write_quantized, target="openvino"),
    open=in_openvino,
    foreign=lambda flags: "this processor has AMX: choose openvino_amx" if "amx_int8" in flags else None,
    extra="openvino",
    packages=("openvino",),
)
