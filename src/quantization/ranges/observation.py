"""Observation of every activation of a network on real images, in two passes, with memory for one image.

The first pass finds each tensor's least and greatest value on every image, the second counts the values between them.
Only these results are kept, so memory does not limit the number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from src.deployment.graph import activations
from src.deployment.session import open_session, run_session
from src.foundation.errors import UserError
from src.quantization.ranges.histogram import Histogram, count

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Observation:
    """A summary of one tensor's values.

    Attributes:
        histogram: histogram of its values on all images.
        extremes: (images, 2), its least and its greatest value on each image.
    """

    histogram: Histogram
    extremes: NDArray[np.float32]


def observe(
    model: onnx.ModelProto,
    images: Sequence[Path],
    load: Callable[[Path], NDArray[np.float32]],
    *,
    bins: int,
    threads: int,
    on_image: Callable[[], object],
) -> dict[str, Observation]:
    """Return the observation of every float activation of `model`, its input included, over `images`.

    Args:
        model: a network with one input.
        images: at least one image file.
        load: reads an image file as the network's input.
        bins: number of bins of each histogram.
        threads: number of CPU threads of onnxruntime.
        on_image: called after each image, twice per image in total.

    Raises:
        UserError: an activation is not finite.
    """
    session, names = _session_of_all_activations(model, threads)

    extremes: dict[str, list[tuple[float, float]]] = {}
    for path, tensors in _run(session, names, images, load):
        for name, values in tensors.items():
            low, high = float(values.min()), float(values.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise UserError(
                    f"{path.name}: expected finite activations, found inf or NaN in tensor {name}: check the training"
                )
            extremes.setdefault(name, []).append((low, high))
        on_image()

    least = {name: min(low for low, _ in found) for name, found in extremes.items()}
    greatest = {name: max(high for _, high in found) for name, found in extremes.items()}
    counts = {name: np.zeros(bins, dtype=np.int64) for name in extremes}
    for _, tensors in _run(session, names, images, load):
        for name, values in tensors.items():
            counts[name] += count(values, least[name], greatest[name], bins)
        on_image()

    return {
        name: Observation(Histogram(least[name], greatest[name], counts[name]), np.array(found, dtype=np.float32))
        for name, found in extremes.items()
    }


def _session_of_all_activations(model: onnx.ModelProto, threads: int) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """Return a session with every activation among its outputs, and the names of the float ones."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    inputs = {tensor.name for tensor in model.graph.input}
    outputs = {tensor.name for tensor in model.graph.output}
    # A name is enough: onnxruntime infers types, also where the exporter stored none.
    hidden = [name for name in activations(model) if name not in inputs | outputs]
    observed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in hidden)
    session = open_session(observed, threads=threads, fused=False)
    return session, [output.name for output in session.get_outputs() if output.type == "tensor(float)"]


def _run(
    session: onnxruntime.InferenceSession,
    names: list[str],
    images: Sequence[Path],
    load: Callable[[Path], NDArray[np.float32]],
) -> Iterator[tuple[Path, Tensors]]:
    [network_input] = session.get_inputs()
    for path in images:
        image = load(path)
        yield path, {network_input.name: image, **dict(zip(names, run_session(session, image, names), strict=True))}
