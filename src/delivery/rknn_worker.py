"""Builds a network for a Rockchip NPU and simulates it: run in the environment of rknn-toolkit2, not in the project's.

It imports nothing of the project. The first argument is a file of JSON with the keys `network` (ONNX), `images` (files
of pixels in RGB, for the ranges), `platform` (such as rk3588) and `file` (the new .rknn). Once the file is built it
sends an empty list of arrays. Then it answers each image (1, H, W, 3) of uint8 with its outputs in float32, until the
input ends.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LENGTH = 8
"""Bytes that tell the length of a message."""


def main() -> None:
    """Build the file, and simulate it on every image that comes in."""
    job = json.loads(Path(sys.argv[1]).read_text())
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # rknn-toolkit2 writes its messages to standard output
    from rknn.api import RKNN

    builder = RKNN(verbose=False)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(job["images"]))
        listed.flush()
        steps = {
            "config": lambda: builder.config(
                mean_values=[[0, 0, 0]], std_values=[[255, 255, 255]], target_platform=job["platform"]
            ),
            "load_onnx": lambda: builder.load_onnx(model=job["network"]),
            "build": lambda: builder.build(do_quantization=True, dataset=listed.name),
            "export_rknn": lambda: builder.export_rknn(job["file"]),
            "init_runtime": builder.init_runtime,
        }
        for name, step in steps.items():
            if step():
                sys.exit(f"{name} failed")
    send(answers, [])
    while images := receive(sys.stdin.buffer):
        send(answers, builder.inference(inputs=images, data_format=["nhwc"]))


def send(stream: IO[bytes], arrays: Sequence[NDArray[Any]]) -> None:
    """Write arrays to a pipe."""
    content = io.BytesIO()
    np.savez(content, *arrays)
    stream.write(struct.pack("<Q", content.tell()) + content.getvalue())
    stream.flush()


def receive(stream: IO[bytes]) -> list[NDArray[Any]] | None:
    """Return the arrays that `send` wrote to a pipe; None at its end."""
    length = stream.read(LENGTH)
    if len(length) < LENGTH:
        return None
    with np.load(io.BytesIO(stream.read(*struct.unpack("<Q", length)))) as arrays:
        return [arrays[name] for name in arrays.files]


if __name__ == "__main__":
    main()
