"""A detector's ONNX file in a runtime, as a function from the input to the output. Only that runtime is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.foundation.digests import digest
from src.foundation.errors import UserError

ONNXRUNTIME, OPENVINO = "onnxruntime", "openvino"
RUNTIMES = (ONNXRUNTIME, OPENVINO)

Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From an input (1, 3, H, W) to the first output, which the next call may overwrite."""


def open_runner(network: Path, runtime: str, threads: int, cache: Path) -> Runner:
    """Return a function that runs an ONNX detector on the CPU with `threads` threads.

    Args:
        network: the file.
        runtime: one of `RUNTIMES`.
        threads: number of CPU threads.
        cache: a folder for what OpenVINO compiles. It may be removed at any time.

    Raises:
        UserError: the runtime is not installed, or cannot run the network.
    """
    try:
        return _in_openvino(network, threads, cache) if runtime == OPENVINO else _in_onnxruntime(network, threads)
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install -c constraints.txt -e '.[openvino]'") from error
    except RuntimeError as error:
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
        raise UserError(f"{network}: {runtime} cannot run it: {reason}") from error


def _in_onnxruntime(network: Path, threads: int) -> Runner:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    from src.deployment.session import open_session, run_session

    try:
        session = open_session(network, threads=threads)
    except (state.Fail, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented) as error:
        raise RuntimeError(str(error)) from error
    return lambda pixels: run_session(session, pixels)[0]


def _in_openvino(network: Path, threads: int, cache: Path) -> Runner:
    from src.deployment.openvino_request import open_request

    request = open_request(network, threads=threads, cache=cache / digest(network))

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = request.infer({0: pixels}, share_inputs=True, share_outputs=True)[0]
        return output

    return run
