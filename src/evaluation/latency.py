"""How long one forward pass takes, for several detectors under the same conditions.

A machine slows down and speeds up by itself, so timing one detector after the other compares minutes, not detectors.
Here each round times every detector once, and each round begins with another one. A pass of the same detector goes
before the timed one: a deployed detector follows itself, and finds its weights in the processor's caches where they
fit, while here others have filled them. Only the forward pass is timed: reading images and suppressing double boxes
costs all alike.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from src.detector.checkpoint import load_detector

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
"""The extra `openvino` of pyproject.toml."""

WARM_UP_ROUNDS = 10
"""The first passes allocate memory and pick kernels."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Latency:
    """Median and 95th percentile of the time of one forward pass, ms."""

    p50_ms: float
    p95_ms: float


def measure(
    forwards: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Latency]:
    """Time each of `forwards` once per round.

    Args:
        forwards: what to time, by name.
        rounds: at least 1; `WARM_UP_ROUNDS` more go before them, untimed.
        clock: s.
    """
    names = list(forwards)
    times_ms: dict[str, list[float]] = {name: [] for name in names}
    for index in range(-WARM_UP_ROUNDS, rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            forwards[name]()
            begun = clock()
            forwards[name]()
            elapsed_ms = (clock() - begun) * 1000
            if index >= 0:
                times_ms[name].append(elapsed_ms)
    return {
        name: Latency(round(float(np.percentile(ms, 50)), 4), round(float(np.percentile(ms, 95)), 4))
        for name, ms in times_ms.items()
    }


def torch_forward(weights: Path, image: NDArray[np.float32]) -> Callable[[], object]:
    """Return a call that runs a .pt detector (batch norm folded in) on `image` (1, 3, H, W), on the CPU."""
    network = load_detector(weights).fuse(verbose=False)
    tensor = torch.from_numpy(image)

    def forward() -> object:
        with torch.inference_mode():
            return network(tensor)

    return forward


def onnx_forward(network: Path, image: NDArray[np.float32], threads: int) -> Callable[[], object]:
    """Return a call that runs an ONNX detector on `image` (1, 3, H, W), on the CPU with `threads` threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else this session's threads go on spinning while the next detector is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: image}
    return lambda: session.run(None, feed)


def openvino_forward(network: Path, image: NDArray[np.float32], threads: int) -> Callable[[], object]:
    """Return a call that runs an ONNX or OpenVINO detector in OpenVINO, on the CPU with `threads` threads.

    What is not in integers is in float32, also where the processor would take bfloat16. The image is read and the
    answer left where they are, as onnxruntime does: by default OpenVINO copies both.

    Raises:
        RuntimeError: OpenVINO has no such operator.
    """
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: image}, share_inputs=True, share_outputs=True)


def forwards_by_runtime(network: Path, image: NDArray[np.float32], threads: int) -> dict[str, Callable[[], object]]:
    """Return a call per runtime that runs an ONNX detector: onnxruntime, and openvino if it is there and can."""
    found = {"onnxruntime": onnx_forward(network, image, threads)}
    if HAS_OPENVINO:
        try:
            found["openvino"] = openvino_forward(network, image, threads)
        except RuntimeError as error:  # QOperator and 4 bits have operators of onnxruntime's own
            reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
            _logger.warning("%s was not timed in OpenVINO, which cannot run it: %s", network.name, reason)
    return found


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use `threads` threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
