"""INT8 for ncnn, with the ranges that calibrate chose. ncnn's own tools, ncnn2table and ncnn2int8, are in no package.

A convolution of ncnn reads floats, multiplies 8-bit integers, symmetric around zero, and writes floats. Its weights are
stored as integers, followed by the bias, a scale per output channel and a scale for the input. The numbers are those of
ncnn2table and ncnn2int8 (github.com/Tencent/ncnn, tools/quantize), but for the range of the input. All other layers,
the head among them, compute in float.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from src.delivery.ncnn_files import CHANNELS, HEIGHT, WIDTH, Layer
from src.deployment.graph import copy_to_quantize
from src.foundation.errors import UserError
from src.quantization.ranges.calibration import Range

IN_FLOAT32, IN_INT8 = 0, 0x000D4B38
"""The four bytes before weights tell their type."""

CONVOLUTIONS = {"Convolution": 2, "ConvolutionDepthWise": 1}
"""The layers in integers, with the numbers by which ncnn knows that scales of weights follow, per channel or group."""

OUTPUTS, KERNEL, DILATION, STRIDE, HAS_BIAS, WEIGHTS, SCALES, KERNEL_HEIGHT = 0, 1, 2, 3, 5, 6, 8, 11
"""Keys of a convolution's settings."""

DEPTH = 11
"""Key of the fourth dimension of MemoryData, a constant, besides those of an image's shape."""

LARGEST, LARGEST_OF_WINOGRAD = 127, 31
"""Largest weights. ncnn computes convolutions of 3x3 with stride 1 by Winograd's method, F(4, 3), in 16 bits; there
larger weights would overflow (ncnn2table)."""


def quantize(
    layers: Sequence[Layer], weights: bytes, model: onnx.ModelProto, inputs: Mapping[str, Range]
) -> tuple[list[Layer], bytes]:
    """Return the layers and the weights with convolutions in integers.

    Args:
        layers: in the order of the file.
        weights: of all layers, in FP32.
        model: the network in ONNX that both were made from.
        inputs: the range of the input of each convolution that is to be in integers, by the name of its node as
            `learned_convolutions` gives it.

    Raises:
        UserError: the weights are not those of the layers, or not those of the network in ONNX.
    """
    names = _names_by_weights(model)
    reader = _Reader(weights)
    changed, parts, missing = [], [], set(inputs)
    for layer in layers:
        if layer.kind in CONVOLUTIONS:
            values, bias = reader.convolution(layer)
            name = names.get(values.tobytes(), "")
            missing.discard(name)
            if name in inputs:
                layer = replace(layer, settings={**layer.settings, SCALES: str(CONVOLUTIONS[layer.kind])})
                parts += _in_integers(layer, values, bias, inputs[name])
            else:
                parts += [_tag(IN_FLOAT32), values, bias]
        elif layer.kind == "MemoryData":
            parts.append(reader.constant(layer))
        changed.append(layer)
    reader.expect_end()
    if missing:
        raise UserError(f"ncnn has no convolution with the weights of {', '.join(sorted(missing))}")
    return changed, b"".join(part.tobytes() for part in parts)


def _names_by_weights(model: onnx.ModelProto) -> dict[bytes, str]:
    """Return the names of convolutions by the bytes of their weights.

    Raises:
        UserError: two have the same weights, so that they cannot be told apart.
    """
    named = copy_to_quantize(model)
    constants = {tensor.name: tensor for tensor in named.graph.initializer}
    nodes = [node for node in named.graph.node if node.op_type == "Conv"]
    found = {numpy_helper.to_array(constants[node.input[1]]).tobytes(): node.name for node in nodes}
    if len(found) < len(nodes):
        raise UserError("two convolutions have the same weights: they cannot be told apart")
    return found


class _Reader:
    """Reads the weights of one layer after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def convolution(self, layer: Layer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights (outputs, the rest) and the bias (outputs,), or an empty one, of a convolution."""
        if self._take("<u4", 1)[0] != IN_FLOAT32:
            raise UserError(f"the weights of {layer.name} are not in FP32")
        outputs = layer.number(OUTPUTS)
        values = self._take("<f4", layer.number(WEIGHTS)).reshape(outputs, -1)
        return values, self._take("<f4", outputs if layer.number(HAS_BIAS) else 0)

    def constant(self, layer: Layer) -> NDArray[np.float32]:
        """Return the numbers of a constant."""
        lengths = [layer.number(key) for key in (WIDTH, HEIGHT, DEPTH, CHANNELS)]
        return self._take("<f4", math.prod(length for length in lengths if length))

    def expect_end(self) -> None:
        """Check that nothing is left, which a layer of another kind would have read."""
        if self._at != len(self._content):
            raise UserError("a layer that is no convolution has weights: it is not known how to keep them")

    def _take(self, kind: str, count: int) -> NDArray[Any]:
        length = count * np.dtype(kind).itemsize
        if self._at + length > len(self._content):
            raise UserError("the weights end before the layers")
        self._at += length
        return np.frombuffer(self._content, kind, count, self._at - length)


def _in_integers(
    layer: Layer, values: NDArray[np.float32], bias: NDArray[np.float32], range_: Range
) -> list[NDArray[Any]]:
    """Return what is stored of a convolution: weights, padded to 4 bytes, bias, scales of weights and of the input."""
    largest = LARGEST_OF_WINOGRAD if _is_winograd(layer) else LARGEST
    magnitudes = np.abs(values).max(axis=1)
    scales = largest / np.where(magnitudes > 0, magnitudes, 1)
    integers = np.rint(values * scales[:, None]).astype(np.int8).ravel()
    padding = np.zeros(-len(integers) % 4, np.int8)
    input_scale = LARGEST / (max(map(abs, range_)) or 1)
    return [_tag(IN_INT8), integers, padding, bias, scales.astype("<f4"), np.array([input_scale], "<f4")]


def _is_winograd(layer: Layer) -> bool:
    one = (layer.number(STRIDE, 1), layer.number(DILATION, 1)) == (1, 1)
    square = layer.number(KERNEL) == layer.number(KERNEL_HEIGHT, layer.number(KERNEL)) == 3
    return layer.kind == "Convolution" and square and one


def _tag(value: int) -> NDArray[np.uint32]:
    return np.array([value], "<u4")
