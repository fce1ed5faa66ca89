"""Weights whose products cannot saturate on x86 processors without VNNI.

Without VNNI, onnxruntime multiplies bytes with the instruction vpmaddubsw: unsigned activations times signed weights,
and the sum of two neighbouring products in 16 bits, which is cut off at 32767 and -32768. Activations reach 255, so the
sum fits, whatever the activations are, if the positive weights of no pair sum to more than 128, and the negative ones
to less than -128. Which weights are neighbours depends on the kernel. So this must hold for the two greatest and the
two least weights of every output channel.

The usual remedy is weights of 7 bits, -64 to 64, for all channels. Here the scale of a channel grows by just as much as
its two greatest weights demand: at most by the same factor of 2.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from src.deployment.graph import copy_to_quantize
from src.deployment.links import Links

LARGEST_PAIR = 128
"""Of the magnitudes of two weights of one sign: 255 times 128 is 32640, which 16 bits hold."""


def saturating(model: onnx.ModelProto) -> list[str]:
    """Return the weights, by name, of the convolutions of a graph in QDQ whose products can saturate."""
    constants = Links(model.graph).constants
    names = [node.input[0] for node in _weight_nodes(model)]
    return [name for name in names if _largest_pairs(numpy_helper.to_array(constants[name])).max() > LARGEST_PAIR]


def keep_from_saturating(model: onnx.ModelProto, source: onnx.ModelProto) -> None:
    """Quantize the weights of convolutions again, in place, with scales at which no products can saturate.

    Args:
        model: in QDQ format, with int8 weights and a zero point of 0.
        source: the float network that it was made from: weights are rounded once, from float.
    """
    links = Links(model.graph)
    real = {tensor.name: tensor for tensor in copy_to_quantize(source).graph.initializer}
    for node in _weight_nodes(model):
        stored, scale_name = (links.constants[name] for name in node.input[:2])
        integers, scales = numpy_helper.to_array(stored), numpy_helper.to_array(scale_name)
        weights = numpy_helper.to_array(real[stored.name.removesuffix("_quantized")])
        factors = np.maximum(_largest_pairs(integers) / LARGEST_PAIR, 1).astype(np.float32)
        if scales.size == 1:
            factors = factors.max()
        wider = (scales * factors).astype(np.float32)
        _replace(stored, _rounded(weights, wider))
        _replace(scale_name, wider)
        for convolution in links.readers[node.output[0]]:
            _follow(convolution, factors, links)


def _weight_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that turn the int8 weights of convolutions into float."""
    links = Links(model.graph)
    sources = [links.producers.get(node.input[1]) for node in model.graph.node if node.op_type == "Conv"]
    return [
        node
        for node in sources
        if node is not None
        and node.op_type == "DequantizeLinear"
        and links.constants[node.input[0]].data_type == onnx.TensorProto.INT8
    ]


def _largest_pairs(integers: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return per output channel the largest magnitude that two weights of one sign sum to.

    >>> _largest_pairs(np.array([[127, 3, 100], [-128, 5, -1]], dtype=np.int8)).tolist()
    [227.0, 129.0]
    """
    flat = integers.reshape(len(integers), -1).astype(np.float32)
    sizes = [np.sort(np.maximum(sign * flat, 0), axis=1)[:, -2:].sum(axis=1) for sign in (1, -1)]
    largest: NDArray[np.float32] = np.maximum(*sizes)
    return largest


def _rounded(weights: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return weights as integers. Rounding up two of a pair could exceed the limit by 1: the larger gives way."""
    column = scales.reshape(-1, *[1] * (weights.ndim - 1))
    integers = np.clip(np.rint(weights / column), -127, 127).astype(np.int8)
    flat = integers.reshape(len(integers), -1)
    for channel in np.flatnonzero(_largest_pairs(integers) > LARGEST_PAIR):
        row = flat[channel].astype(np.int16)
        for sign in (1, -1):
            largest, second = np.argsort(-sign * row, kind="stable")[:2]
            over = max(sign * row[largest], 0) + max(sign * row[second], 0) - LARGEST_PAIR
            row[largest] -= sign * max(over, 0)
        flat[channel] = row
    return integers


def _follow(convolution: onnx.NodeProto, factors: NDArray[np.float32], links: Links) -> None:
    """Put a convolution's bias, whose scale is that of the weights times that of the input, on the new grid."""
    source = links.producers.get(convolution.input[2]) if len(convolution.input) == 3 else None
    if source is None or source.op_type != "DequantizeLinear":
        return
    bias, scale = (links.constants[name] for name in source.input[:2])
    scales = numpy_helper.to_array(scale)
    wider = (scales * factors).astype(np.float32)
    real = numpy_helper.to_array(bias).astype(np.float64) * scales
    _replace(bias, np.rint(real / wider).astype(np.int32))
    _replace(scale, wider)


def _replace(tensor: onnx.TensorProto, value: NDArray[np.generic]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), tensor.name))
