"""Taking back the mean error that rounded weights leave in every convolution's output.

Rounding W to W + epsilon moves the output by epsilon * x, which on the whole is not zero in the mean: a channel drifts,
and all that follows sees it. The mean can be taken off the bias, which costs nothing when the network runs.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv 1906.04721), section 4.2,
eq. (17): E[y~] = E[y] + epsilon E[x]. There E[x] comes from batch norm's statistics, without data; here epsilon is
convolved with the x of calibration images, which also gets the zeros of the padding right.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from src.quantization.graph import copy_to_quantize

_SUFFIX = "_of_epsilon"


def correct_biases(
    model: onnx.ModelProto, quantized: onnx.ModelProto, images: Iterable[NDArray[np.float32]], *, threads: int
) -> onnx.ModelProto:
    """Return `model` (left as it is), still in float, with biases that undo the mean error of its rounded weights.

    To be quantized once more in the same way: weights, and with them epsilon, stay as they are.

    Args:
        model: a float network of one input.
        quantized: what `quantize_network` made of it.
        images: inputs of the network, (1, 3, H, W) each; at least one.
        threads: of onnxruntime.
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
    """Return epsilon, the rounded less the real weights (O, I, H, W), of every convolution that was quantized."""
    real = {tensor.name: tensor for tensor in model.graph.initializer}
    stored = {tensor.name: tensor for tensor in quantized.graph.initializer}
    errors = {}
    for node in model.graph.node:
        name = node.input[1] if node.op_type == "Conv" else ""
        # As onnxruntime's quantizer names what it makes of a weight.
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
    """Return what each convolution would put out with these weights and no bias, in the mean over images and places.

    Every convolution of `model` gets a twin of the other weights beside it: one pass gives the means of all.

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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(beside.SerializeToString(), options, providers=["CPUExecutionProvider"])
    [network_input] = session.get_inputs()
    names = [f"{name}{_SUFFIX}_mean" for name in weights_by_node]
    runs = [session.run(names, {network_input.name: image}) for image in images]
    return {
        name: np.mean([np.asarray(mean, dtype=np.float64).mean(axis=(0, 2, 3)) for mean in means], axis=0)
        for name, means in zip(weights_by_node, zip(*runs, strict=True), strict=True)
    }
