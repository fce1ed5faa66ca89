"""Bias correction: cancels the mean error that rounded weights cause in every convolution's output.

Rounding W to W + epsilon changes the output by epsilon * x, whose mean is not zero: a channel drifts, and so do all
layers after it. The mean can be subtracted from the bias, which costs nothing when the network runs.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv 1906.04721), section 4.2,
eq. (17): E[y~] = E[y] + epsilon E[x]. In the paper E[x] comes from batch norm's statistics, without data. Here epsilon
is convolved with the x of calibration images, which also accounts for the zeros of the padding.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from src.deployment.graph import copy_to_quantize
from src.deployment.session import open_session, run_session

_SUFFIX = "_of_epsilon"


def correct_biases(
    model: onnx.ModelProto, quantized: onnx.ModelProto, images: Iterable[NDArray[np.float32]], *, threads: int
) -> onnx.ModelProto:
    """Return a float copy of `model` with biases that cancel the mean error of its rounded weights.

    The caller quantizes it again in the same way. The weights do not change, so epsilon does not change either.

    Args:
        model: a float network with one input.
        quantized: the result of `quantize_network` for it.
        images: inputs of the network, (1, 3, H, W) each; at least one.
        threads: number of CPU threads of onnxruntime.
    """
    corrected = copy_to_quantize(model)
    epsilons = _rounding_errors(corrected, quantized)
    if not epsilons:
        return corrected
    shifts = _mean_outputs(corrected, epsilons, images, threads)
    constants = {tensor.name: tensor for tensor in corrected.graph.initializer}
    for node in corrected.graph.node:
        if node.name not in shifts:
            continue
        shift = shifts[node.name]
        if len(node.input) == 2:
            node.input.append(f"{node.name}_bias")
            corrected.graph.initializer.append(numpy_helper.from_array(-shift.astype(np.float32), node.input[2]))
        elif node.input[2] in constants:
            bias = constants[node.input[2]]
            moved = (numpy_helper.to_array(bias) - shift).astype(np.float32)
            bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
    return corrected


def _rounding_errors(model: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Return epsilon, rounded minus real weights (O, I, H, W), of every quantized convolution, by the node's name."""
    real = {tensor.name: tensor for tensor in model.graph.initializer}
    stored = {tensor.name: tensor for tensor in quantized.graph.initializer}
    errors = {}
    for node in model.graph.node:
        name = node.input[1] if node.op_type == "Conv" else ""
        # onnxruntime's quantizer gives quantized weights this name.
        if name in real and f"{name}_quantized" in stored:
            weights = numpy_helper.to_array(real[name])
            integers = numpy_helper.to_array(stored[f"{name}_quantized"]).astype(np.float32)
            # One number, or one per output channel.
            over_channels = (-1, *[1] * (weights.ndim - 1))
            scale, zero_point = (
                numpy_helper.to_array(stored[f"{name}_{kind}"]).astype(np.float32).reshape(over_channels)
                for kind in ("scale", "zero_point")
            )
            errors[node.name] = (scale * (integers - zero_point) - weights).astype(np.float32)
    return errors


def _mean_outputs(
    model: onnx.ModelProto,
    weights_by_node: dict[str, NDArray[np.float32]],
    images: Iterable[NDArray[np.float32]],
    threads: int,
) -> dict[str, NDArray[np.float64]]:
    """Return each convolution's output with these weights and no bias, averaged over images and locations.

    A second convolution with these weights is added beside each convolution, so that one pass gives all means.

    Returns:
        (O,) by the node's name.
    """
    beside = onnx.ModelProto()
    beside.CopyFrom(model)
    graph = beside.graph
    twins = []
    for node in model.graph.node:
        if node.name in weights_by_node:
            twin = helper.make_node("Conv", [node.input[0], f"{node.name}{_SUFFIX}"], [f"{node.name}{_SUFFIX}_output"])
            twin.attribute.extend(node.attribute)
            graph.initializer.append(numpy_helper.from_array(weights_by_node[node.name], twin.input[1]))
            mean = helper.make_node("GlobalAveragePool", [twin.output[0]], [f"{node.name}{_SUFFIX}_mean"])
            graph.output.append(onnx.ValueInfoProto(name=mean.output[0]))
            twins += [twin, mean]
    graph.node.extend(twins)
    session = open_session(beside, threads=threads)
    names = [f"{name}{_SUFFIX}_mean" for name in weights_by_node]
    runs = [run_session(session, image, names) for image in images]
    return {
        name: np.mean([np.asarray(mean, dtype=np.float64).mean(axis=(0, 2, 3)) for mean in means], axis=0)
        for name, means in zip(weights_by_node, zip(*runs, strict=True), strict=True)
    }
