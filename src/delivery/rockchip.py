"""Files for Rockchip's NPUs: rknn-toolkit2 builds and simulates them, in a process and an environment of its own.

Its versions of numpy, onnx and torch clash with the project's. The simulator runs what was just built: it cannot run a
file. So one process builds the file and answers with what the same network computes on the NPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src import PROJECT
from src.delivery.rknn_worker import receive, send
from src.delivery.target import Environment
from src.foundation.errors import UserError

ENVIRONMENT = Environment(
    ".venv-rknn", "python3.11 -m venv .venv-rknn && .venv-rknn/bin/pip install rknn-toolkit2==2.5.0"
)
_WORKER = Path(__file__).with_name("rknn_worker.py")
_MESSAGES = "messages.txt"


class Simulator:
    """A built network, as Rockchip's simulator runs it. Its process ends with this object."""

    def __init__(self, folder: Path, network: Path, images: Sequence[Path], file: Path, platform: str, threads: int):
        """Build a file.

        Args:
            folder: where the process runs, and leaves its messages.
            network: in float, ONNX.
            images: files of pixels in the size of the network; the ranges are observed on them.
            file: the new .rknn.
            platform: the chip, such as rk3588.
            threads: number of CPU threads of the simulator.

        Raises:
            UserError: rknn-toolkit2 cannot build it.
        """
        job = {"network": str(network), "images": list(map(str, images)), "platform": platform, "file": str(file)}
        (folder / "job.json").write_text(json.dumps(job))
        self._messages = folder / _MESSAGES
        with self._messages.open("w") as messages:
            self._process = subprocess.Popen(
                [PROJECT / ENVIRONMENT.python, "-P", _WORKER, folder / "job.json"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
        self._end = weakref.finalize(self, _end, self._process)
        self._receive()

    def run(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the outputs of an image (1, H, W, 3), in the order of the network.

        Raises:
            UserError: the process has ended.
        """
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, [image])
        except BrokenPipeError as error:
            raise self._failed() from error
        return self._receive()

    def _receive(self) -> list[NDArray[Any]]:
        assert self._process.stdout is not None
        answer = receive(self._process.stdout)
        if answer is None:
            raise self._failed()
        return answer

    def _failed(self) -> UserError:
        """Return the error for a process that has ended."""
        self._end()
        lines = [line.strip() for line in self._messages.read_text(errors="replace").splitlines() if line.strip()]
        # rknn-toolkit2 marks the lines of errors with E; the last line is the worker's own, or Python's.
        told = [line for line in lines if line.startswith("E ")][:1] + lines[-1:]
        return UserError(f"rknn-toolkit2 ended: {'; '.join(told)[:300] or 'without a message'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended
        process.stdin.close()
    process.stdout.close()
    process.wait()
