"""Equalizes the ranges of weights between two convolutions, so that one scale per tensor fits all channels.

f(s x) = s f(x) for ReLU and any s > 0. So the first of two convolutions can divide a channel by s and the second can
multiply it by s: the network computes the same function. s is chosen so that a channel's weights have the same range in
both.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv 1906.04721), section 4.1,
eq. (11): s_i = sqrt(r1_i r2_i) / r2_i, r being half the width of a symmetric range. Only weights are equalized. For
SiLU, f(s x) = s x sigmoid(s x) is not s f(x). So networks with SiLU are refused; the paper's approximation of such
activations is not implemented. With one scale per channel only the second convolution gains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from src.deployment.graph import own_constants
from src.deployment.links import Links
from src.foundation.errors import SettingError

_SCALING = {"Relu", "LeakyRelu"}
"""Activations with one input for which f(s x) = s f(x)."""

_CLOSE = 1e-3
"""Pairs form chains, and each pair changes its neighbours. So all are repeated until no s is farther than this from 1.
"""
_ROUNDS = 100
"""The largest number of repetitions."""


@dataclass(frozen=True)
class Pair:
    """Two convolutions: the second is the only reader of the first, with nothing or an activation of `_SCALING`
    between.
    """

    first: onnx.NodeProto
    second: onnx.NodeProto


def equalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` with equalized weights: the same function, up to rounding in float32.

    Activations change with the weights, so ranges have to be observed afterwards.

    Raises:
        SettingError: no two convolutions can be equalized.
    """
    equalized = onnx.ModelProto()
    equalized.CopyFrom(model)
    own_constants(equalized)
    pairs = pairs_of(equalized)
    if not pairs:
        raise SettingError(
            "equalize",
            "must be false for a network without convolutions that have ReLU or nothing between them (SiLU cannot be "
            "equalized), got true",
        )
    constants = {tensor.name: tensor for tensor in equalized.graph.initializer}
    values = {
        name: numpy_helper.to_array(constants[name]).astype(np.float64)
        for pair in pairs
        for name in (*pair.first.input[1:], pair.second.input[1])
    }
    for _ in range(_ROUNDS):
        farthest = max(_equalize_pair(pair, values) for pair in pairs)
        if farthest < _CLOSE:
            break
    for name, value in values.items():
        constants[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return equalized


def pairs_of(model: onnx.ModelProto) -> list[Pair]:
    """Return the pairs of convolutions that can be equalized exactly, in the order of the graph."""
    links = Links(model.graph)

    def owns_weights(node: onnx.NodeProto) -> bool:
        return all(name in links.constants and len(links.readers[name]) == 1 for name in node.input[1:])

    pairs = []
    for node in model.graph.node:
        if node.op_type != "Conv" or not owns_weights(node):
            continue
        follower = links.sole_reader(node.output[0])
        if follower is not None and follower.op_type in _SCALING:
            follower = links.sole_reader(follower.output[0])
        if follower is not None and follower.op_type == "Conv" and owns_weights(follower):
            pairs.append(Pair(node, follower))
    return pairs


def _equalize_pair(pair: Pair, values: dict[str, NDArray[np.float64]]) -> float:
    """Equalize one pair in place, and return the largest distance of any s from 1."""
    W1, W2 = values[pair.first.input[1]], values[pair.second.input[1]]
    # (groups, O / groups, I / groups, H, W): a channel between the two is a group and an index in it.
    groups = len(W1) // W2.shape[1]
    grouped = W2.reshape(groups, -1, *W2.shape[1:])
    r1 = np.abs(W1).reshape(len(W1), -1).max(axis=1)
    r2 = np.abs(grouped).max(axis=(1, *range(3, grouped.ndim))).ravel()
    # A dead channel has no range to equalize.
    alive = (r1 > 0) & (r2 > 0)
    s = np.where(alive, np.sqrt(r1 * r2) / np.where(alive, r2, 1), 1)
    values[pair.first.input[1]] = W1 / s.reshape(-1, *[1] * (W1.ndim - 1))
    if len(pair.first.input) == 3:
        values[pair.first.input[2]] = values[pair.first.input[2]] / s
    between = s.reshape(groups, 1, -1, *[1] * (W2.ndim - 2))
    values[pair.second.input[1]] = (grouped * between).reshape(W2.shape)
    return float(np.abs(s - 1).max())
