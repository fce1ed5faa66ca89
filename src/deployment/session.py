"""onnxruntime sessions, all opened alike: on the CPU, with threads that do not spin between runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

ERRORS_ONLY = 3
"""onnxruntime's level of logging."""


def open_session(
    model: onnx.ModelProto | Path, *, threads: int = 0, fused: bool = True, optimized_file: Path | None = None
) -> onnxruntime.InferenceSession:
    """Return a session that runs an ONNX model on the CPU.

    Args:
        model: the model or its file.
        threads: within an operator; 0: onnxruntime's own choice.
        fused: let onnxruntime fuse nodes into kernels. Fused kernels round differently, and hide tensors.
        optimized_file: where to write the graph that onnxruntime makes of the model; None: nowhere.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Otherwise this session's threads go on spinning, and take the cores from whatever runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimized_file is not None:
        options.optimized_model_filepath = str(optimized_file)
        # Its warning, that the graph suits this machine alone, is what is asked for here.
        options.log_severity_level = ERRORS_ONLY
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_session(
    session: onnxruntime.InferenceSession, image: NDArray[np.float32], outputs: Sequence[str] | None = None
) -> list[NDArray[np.float32]]:
    """Return what a network of one input gives for an image: the outputs of these names, or all."""
    [network_input] = session.get_inputs()
    found: list[NDArray[np.float32]] = session.run(outputs and list(outputs), {network_input.name: image})
    return found
