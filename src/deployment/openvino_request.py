"""OpenVINO requests with the same options everywhere: on the CPU, one image at a time."""

from __future__ import annotations

from functools import cache as only_once
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino


def open_request(network: Path, *, threads: int, cache: Path | None = None) -> openvino.InferRequest:
    """Return a request that runs an ONNX or OpenVINO network on the CPU with `threads` threads.

    Operators that are not in integers compute in float32, even if the processor has bfloat16.

    Args:
        network: a file.
        threads: number of CPU threads.
        cache: a folder for what OpenVINO compiles, which takes a second; None: it is compiled anew. OpenVINO knows a
            file by its path, size and time, so no two files may share the folder.

    Raises:
        RuntimeError: OpenVINO does not support an operator of the network.
    """
    return compiled(network, threads, cache).create_infer_request()


def compiled(network: Path | openvino.Model, threads: int, cache: Path | None = None) -> openvino.CompiledModel:
    """Return a compiled network: see `open_request`."""
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    if cache is not None:
        settings["CACHE_DIR"] = str(cache)
    return core().compile_model(network, "CPU", settings)


@only_once
def core() -> openvino.Core:
    """Return OpenVINO's core, the same one for the whole process.

    Each core has its own stack for signal handlers, and gives the one before back when it goes. If that one went first,
    the next signal, such as Ctrl-C, is a segmentation fault.
    """
    import openvino

    return openvino.Core()
