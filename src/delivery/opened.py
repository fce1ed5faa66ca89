"""A detector's file, read back and ready to run, in whichever runtime: one way from an image to boxes and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from src.deployment.openvino_request import compiled, core
from src.deployment.session import open_session
from src.foundation.errors import UserError

_UNREADABLE = (
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.InvalidProtobuf,
    onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)
"""onnxruntime's errors about a file; they have no class in common."""

Image = NDArray[np.float32]
"""(1, 3, H, W), RGB, [0, 1]."""


@dataclass(frozen=True)
class End:
    """An input or an output of a file."""

    name: str
    shape: tuple[int, ...]
    type: str


@dataclass(frozen=True)
class Opened:
    """A file that is ready to run.

    Attributes:
        input: its input.
        outputs: its outputs.
        prepare: turns an image into the input.
        run: one forward pass.
        decode: turns the outputs into boxes and scores (1, 4 + classes, locations); None: the file does it.
        without_duplicates: whether the file returns (1, boxes, 6), which need no non-maximum suppression.
    """

    input: End
    outputs: tuple[End, ...]
    prepare: Callable[[Image], NDArray[Any]]
    run: Callable[[NDArray[Any]], Sequence[NDArray[Any]]]
    decode: Callable[[Sequence[NDArray[Any]]], NDArray[np.float32]] | None = None
    without_duplicates: bool = False

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """Return boxes and scores of an image."""
        outputs = self.run(self.prepare(image))
        return outputs[0] if self.decode is None else self.decode(outputs)


def in_onnxruntime(file: Path, threads: int) -> Opened:
    """Open an ONNX file with a float head in onnxruntime.

    Raises:
        UserError: it cannot be read back.
    """
    session = readable_session(file, threads)
    [entry], outputs = ends_of(session)
    return Opened(
        entry,
        outputs,
        prepare=as_it_is,
        run=lambda image: session.run(None, {entry.name: image}),
        without_duplicates=session.get_modelmeta().custom_metadata_map.get("end2end") == "True",
    )


def in_openvino(file: Path, threads: int) -> Opened:
    """Open an ONNX file with a float head in OpenVINO, with the settings by which it is timed elsewhere.

    Raises:
        UserError: it cannot be read back.
    """
    try:
        model = core().read_model(file)
        network = compiled(model, threads)
    except RuntimeError as error:
        raise unreadable(file, error) from error
    request = network.create_infer_request()

    def run(image: NDArray[Any]) -> list[NDArray[Any]]:
        found = request.infer({0: image}, share_inputs=True, share_outputs=True)
        return [found[index] for index in range(len(network.outputs))]

    def end(one: Any) -> End:
        return End(one.get_any_name(), tuple(one.get_shape()), str(one.get_element_type().to_dtype()))

    info = model.get_rt_info()
    end2end = "framework" in info and "end2end" in info["framework"] and str(info["framework"]["end2end"]) == "True"
    return Opened(
        end(network.inputs[0]),
        tuple(end(one) for one in network.outputs),
        prepare=as_it_is,
        run=run,
        decode=lambda found: found[0].copy(),  # the next pass writes into the same memory
        without_duplicates=end2end,
    )


def readable_session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    """Return a session that runs a file.

    Raises:
        UserError: onnxruntime cannot read it.
    """
    try:
        return open_session(file, threads=threads)
    except _UNREADABLE as error:
        raise unreadable(file, error) from error


def unreadable(file: Path, error: Exception) -> UserError:
    """Return the error for a file that cannot be read back."""
    return UserError(f"{file.name} cannot be read back: {' '.join(str(error).split())[:200]}")


def ends_of(session: onnxruntime.InferenceSession) -> tuple[tuple[End, ...], tuple[End, ...]]:
    """Return the inputs and the outputs of a session."""

    def ends(found: Sequence[Any]) -> tuple[End, ...]:
        return tuple(End(one.name, tuple(one.shape), _numpy_type(one.type)) for one in found)

    return ends(session.get_inputs()), ends(session.get_outputs())


def as_it_is(image: Image) -> NDArray[Any]:
    """Return an image, for files that take it as it is."""
    return image


def _numpy_type(name: str) -> str:
    """Return the name in numpy of onnxruntime's type.

    >>> _numpy_type("tensor(float)"), _numpy_type("tensor(uint8)")
    ('float32', 'uint8')
    """
    inner = name.removeprefix("tensor(").removesuffix(")")
    return "float32" if inner == "float" else inner
