"""openvino_amx: the SiLU outside the kernel of its convolution, which is faster with AMX: for OpenVINO on x86."""

from __future__ import annotations

from functools import partial

from src.delivery.opened import in_openvino
from src.delivery.quantized import READING, write_quantized
from src.delivery.target import Target

TARGET = Target(
    file="int8.onnx",
    runtime="OpenVINO",
    suits="OpenVINO on x86 processors with AMX",
    reading=READING,
    write=partial(write_quantized, target="openvino_amx"),
    open=in_openvino,
    foreign=lambda flags: None if "amx_int8" in flags else "this processor has no AMX",
    extra="openvino",
    packages=("openvino",),
)
