"""The settings of quantization that stage quantize reads and a search varies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import OneOf, Range
from src.quantization.ranges.calibrators import CALIBRATORS
from src.quantization.targets import TARGETS


@dataclass(kw_only=True, unsafe_hash=True)  # not frozen, because OmegaConf sets the attributes
class Setting:
    """How a network is quantized.

    VNNI multiplies unsigned activations by signed weights. Any other pair of types is converted at run time, and was
    measured slower than float.

    Attributes:
        calibrator: name of the calibrator whose ranges are used.
        target: the runtime that the graph is optimized for; other runtimes can run a qdq graph too.
        format: qdq puts QuantizeLinear and DequantizeLinear around float operators, and the runtime fuses them into
            integer kernels; qoperator names these kernels directly.
        activation_type, weight_type: the integer types.
        per_channel: one scale per output channel of the weights, instead of one per tensor.
        symmetric_activations: zero point in the middle of the grid, instead of where the range puts it.
        symmetric_weights: the same for weights.
        float_head: keep the nodes after the last learned convolutions in float.
        bias_correction: subtract from each bias the mean error that rounded weights cause on calibration images.
        float_layers: number of most sensitive convolutions that stay in float, besides the head.
    """

    calibrator: Annotated[str, OneOf(*CALIBRATORS)]
    target: Annotated[str, OneOf(*TARGETS)]
    format: Annotated[str, OneOf("qdq", "qoperator")]
    activation_type: Annotated[str, OneOf("uint8", "int8")]
    weight_type: Annotated[str, OneOf("int8", "uint8")]
    per_channel: bool
    symmetric_activations: bool
    symmetric_weights: bool
    float_head: bool
    bias_correction: bool
    float_layers: Annotated[int, Range(least=0)]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield (key, fault) of each value that contradicts another value: no kernel supports the combination."""
        if self.activation_type == "int8" and self.weight_type == "uint8":
            yield "weight_type", "must be int8 where activation_type is int8, got uint8"
        if self.per_channel and not self.symmetric_weights:
            yield (
                "symmetric_weights",
                "must be true where per_channel is true (integer kernels take one zero point per tensor), got false",
            )
        formats = TARGETS[self.target].formats
        if self.format not in formats:
            yield "format", f"must be {' or '.join(formats)} where target is {self.target}, got {self.format}"
