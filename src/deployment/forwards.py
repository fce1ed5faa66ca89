"""One forward pass of a detector as a function without arguments, in each runtime; for timing."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from src.deployment.openvino_request import open_request
from src.deployment.session import open_session
from src.detector.checkpoint import load_detector

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
"""Whether the extra `openvino` of pyproject.toml is installed."""

_logger = logging.getLogger(__name__)


def torch_forward(weights: Path, image: NDArray[np.float32]) -> Callable[[], object]:
    """Return a function that runs a .pt detector (batch norm folded in) on `image` (1, 3, H, W), on the CPU."""
    network = load_detector(weights).fuse(verbose=False)
    tensor = torch.from_numpy(image)

    def forward() -> object:
        with torch.inference_mode():
            return network(tensor)

    return forward


def onnx_forward(network: Path, image: NDArray[np.float32], threads: int) -> Callable[[], object]:
    """Return a function that runs an ONNX detector on `image` (1, 3, H, W), on the CPU with `threads` threads."""
    session = open_session(network, threads=threads)
    feed = {session.get_inputs()[0].name: image}
    return lambda: session.run(None, feed)


def openvino_forward(network: Path, image: NDArray[np.float32], threads: int) -> Callable[[], object]:
    """Return a function that runs an ONNX or OpenVINO detector in OpenVINO, on the CPU with `threads` threads.

    As in onnxruntime, the image and the output are not copied; OpenVINO's default is to copy both.

    Raises:
        RuntimeError: OpenVINO does not support an operator of the network.
    """
    request = open_request(network, threads=threads)
    return lambda: request.infer({0: image}, share_inputs=True, share_outputs=True)


def forwards_by_runtime(network: Path, image: NDArray[np.float32], threads: int) -> dict[str, Callable[[], object]]:
    """Return, per runtime, a function that runs an ONNX detector.

    The runtimes are onnxruntime, and openvino if it is installed and can run the network.
    """
    found = {"onnxruntime": onnx_forward(network, image, threads)}
    if HAS_OPENVINO:
        try:
            found["openvino"] = openvino_forward(network, image, threads)
        except RuntimeError as error:  # QOperator and 4-bit graphs have operators that only onnxruntime has
            reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
            _logger.warning("%s was not timed in OpenVINO, which cannot run it: %s", network.name, reason)
    return found
