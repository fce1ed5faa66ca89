"""Which layers suffer most from eight bits: each convolution quantized alone, all others left in float.

The error is taken where the float head begins, at the outputs of the last learned convolutions: what decoding makes of
them (boxes in px, sorted or not, scores in [0, 1]) would weigh one more than the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from src.quantization.calibration import Range
from src.quantization.graph import head_inputs, learned_convolutions
from src.quantization.int8 import Int8, quantize_network


@dataclass(frozen=True)
class LayerError:
    """What quantizing one layer alone does to the network.

    Attributes:
        layer: name of the convolution's node.
        sqnr_db: signal over quantization noise, dB; the lower, the more it suffers. Infinite if nothing changed.
    """

    layer: str
    sqnr_db: float


def layer_errors(
    model: onnx.ModelProto,
    ranges: dict[str, Range],
    how: Int8,
    images: Sequence[NDArray[np.float32]],
    *,
    threads: int,
    on_layer: Callable[[], object],
) -> list[LayerError]:
    """Return the error of every learned convolution, the most sensitive first.

    Args:
        model: a float network of one input.
        ranges: (low, high) of every float activation, by name.
        how: types, granularity, format.
        images: inputs of the network, (1, 3, H, W) each; at least one.
        threads: of onnxruntime.
        on_layer: called after each layer.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    names = head_inputs(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    expected = _run(shown, names, images, threads)
    errors = []
    for layer in learned_convolutions(model):
        found = _run(quantize_network(shown, ranges, how, only=[layer]), names, images, threads)
        errors.append(LayerError(layer, _sqnr_db(expected, found)))
        on_layer()
    return sorted(errors, key=lambda error: error.sqnr_db)


def _run(
    model: onnx.ModelProto, names: Sequence[str], images: Sequence[NDArray[np.float32]], threads: int
) -> list[NDArray[np.float64]]:
    """Return the tensors `names`, each over all images."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    [network_input] = session.get_inputs()
    outputs = [session.run(list(names), {network_input.name: image}) for image in images]
    return [np.concatenate(tensors).astype(np.float64) for tensors in zip(*outputs, strict=True)]


def _sqnr_db(expected: Sequence[NDArray[np.float64]], found: Sequence[NDArray[np.float64]]) -> float:
    """Return 10 log10 of signal over noise, the noise in the mean over tensors, each against its own signal."""
    noise = [((e - f) ** 2).sum() / max((e**2).sum(), 1e-30) for e, f in zip(expected, found, strict=True)]
    mean = float(np.mean(noise))
    return math.inf if mean == 0 else -10 * math.log10(mean)
