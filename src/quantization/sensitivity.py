"""Sensitivity of each layer to quantization: each convolution is quantized alone, all others stay in float.

The error is measured at the inputs of the float head, the outputs of the last learned convolutions. After decoding,
boxes in px would count far more than scores in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from src.deployment.graph import head_inputs, learned_convolutions
from src.deployment.session import open_session, run_session
from src.quantization.int8 import quantize_network
from src.quantization.ranges.calibration import Range
from src.quantization.setting import Setting


@dataclass(frozen=True)
class LayerError:
    """The error of the network when one layer alone is quantized.

    Attributes:
        layer: name of the convolution's node.
        sqnr_db: signal to quantization noise ratio, dB; a lower value means a more sensitive layer. Infinite if nothing
            changes.
    """

    layer: str
    sqnr_db: float


def layer_errors(
    model: onnx.ModelProto,
    ranges: dict[str, Range],
    setting: Setting,
    images: Sequence[NDArray[np.float32]],
    *,
    threads: int,
    on_layer: Callable[[], object],
) -> list[LayerError]:
    """Return the error of every learned convolution, the most sensitive first.

    Args:
        model: a float network with one input.
        ranges: (low, high) of every float activation, by name.
        setting: types, granularity, format and target.
        images: inputs of the network, (1, 3, H, W) each; at least one.
        threads: number of CPU threads of onnxruntime.
        on_layer: called after each layer.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    names = head_inputs(model)
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    expected = _run(exposed, names, images, threads)
    errors = []
    for layer in learned_convolutions(model):
        found = _run(quantize_network(exposed, ranges, setting, only=[layer]), names, images, threads)
        errors.append(LayerError(layer, _sqnr_db(expected, found)))
        on_layer()
    return sorted(errors, key=lambda error: error.sqnr_db)


def _run(
    model: onnx.ModelProto, names: Sequence[str], images: Sequence[NDArray[np.float32]], threads: int
) -> list[NDArray[np.float64]]:
    """Return the tensors `names`, each concatenated over all images."""
    session = open_session(model, threads=threads)
    outputs = [run_session(session, image, names) for image in images]
    return [np.concatenate(tensors).astype(np.float64) for tensors in zip(*outputs, strict=True)]


def _sqnr_db(expected: Sequence[NDArray[np.float64]], found: Sequence[NDArray[np.float64]]) -> float:
    """Return 10 log10 of signal over noise, where noise is the mean over tensors, each relative to its own signal."""
    noise = [((e - f) ** 2).sum() / max((e**2).sum(), 1e-30) for e, f in zip(expected, found, strict=True)]
    mean = float(np.mean(noise))
    return math.inf if mean == 0 else -10 * math.log10(mean)
