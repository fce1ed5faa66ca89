"""onnxruntime sessions with the same options everywhere: on the CPU, with threads that do not spin between runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

ERRORS_ONLY = 3
"""The level of onnxruntime's log that shows errors only."""


def open_session(
    model: onnx.ModelProto | Path, *, threads: int = 0, fused: bool = True, optimized_file: Path | None = None
) -> onnxruntime.InferenceSession:
    """Return a session that runs an ONNX model on the CPU.

    Args:
        model: the model or its file.
        threads: number of CPU threads within an operator; 0: onnxruntime's own choice.
        fused: let onnxruntime fuse nodes into kernels. Fused kernels round differently, and hide tensors.
        optimized_file: onnxruntime writes its optimized graph to this file; None: it is not written.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Otherwise this session's threads keep spinning and take the cores from the code that runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimized_file is not None:
        options.optimized_model_filepath = str(optimized_file)
        # onnxruntime would warn that the graph suits this machine only, which is intended here.
        options.log_severity_level = ERRORS_ONLY
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_session(
    session: onnxruntime.InferenceSession, image: NDArray[np.float32], outputs: Sequence[str] | None = None
) -> list[NDArray[np.float32]]:
    """Run a network with one input on an image, and return the outputs with these names, or all outputs."""
    [network_input] = session.get_inputs()
    found: list[NDArray[np.float32]] = session.run(outputs and list(outputs), {network_input.name: image})
    return found
