"""onnxruntime: integer convolutions and a float head, in QDQ, for CPUs with VNNI, ARM and browsers."""

from __future__ import annotations

from functools import partial

from src.delivery.opened import in_onnxruntime
from src.delivery.quantized import READING, write_quantized
from src.delivery.target import Target

TARGET = Target(
    file="int8.onnx",
    runtime="onnxruntime",
    suits="onnxruntime on CPUs that multiply bytes without saturation (VNNI, ARM), and in browsers",
    reading=READING,
    write=partial(write_quantized, target="onnxruntime"),
    open=in_onnxruntime,
    foreign=lambda flags: None,
)
