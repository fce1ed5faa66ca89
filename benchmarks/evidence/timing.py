"""timing: one process of a latency run: times networks, interleaved, on one thread, in each runtime that runs them.

    python -m benchmarks.evidence.timing 100 '{"name": "file.onnx"}'

Prints a line of JSON: the median in ms by name and runtime.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from src.deployment.forwards import forwards_by_runtime, openvino_forward
from src.evaluation.latency import measure


def main() -> None:
    """Time the networks that the command line names."""
    rounds, networks = int(sys.argv[1]), json.loads(sys.argv[2])
    print(json.dumps(timed({name: Path(path) for name, path in networks.items()}, rounds)))


def timed(networks: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Return the median time of a forward pass, ms, by name and runtime.

    Args:
        networks: ONNX files, or folders in OpenVINO's form, by name.
        rounds: see `measure`.
    """
    forwards = {(name, runtime): call for name, path in networks.items() for runtime, call in _forwards(path).items()}
    found: dict[str, dict[str, float]] = {}
    numbered = dict(enumerate(forwards.values()))
    latencies = measure({str(number): call for number, call in numbered.items()}, rounds)
    for (name, runtime), latency in zip(forwards, latencies.values(), strict=True):
        found.setdefault(name, {})[runtime] = latency.p50_ms
    return found


def _forwards(network: Path) -> dict[str, Callable[[], object]]:
    if network.is_dir():
        description = next(network.glob("*.xml"))
        return {"openvino": openvino_forward(description, _noise(_shape_in_openvino(description)), threads=1)}
    (given,) = onnx.load(network).graph.input
    shape = tuple(one.dim_value for one in given.type.tensor_type.shape.dim)
    return forwards_by_runtime(network, _noise(shape), threads=1)


def _shape_in_openvino(description: Path) -> tuple[int, ...]:
    import openvino

    return tuple(openvino.Core().read_model(description).input(0).shape)


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    """Return an image of noise: what an image shows does not change the time of a forward pass."""
    return np.random.default_rng(0).random(shape, dtype=np.float32)


if __name__ == "__main__":
    main()
