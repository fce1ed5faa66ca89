"""integer: no float operator from the pixels to the head's last convolutions, for NPUs.

See `src/delivery/integer_graph.py` for the graph, `src/deployment/integer_decoder.py` for the rest of the head.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from src.delivery.integer_graph import integer_graph, pixels, read_levels
from src.delivery.opened import Opened, ends_of, readable_session
from src.delivery.target import Source, Target
from src.deployment.integer_decoder import decode


def write(source: Source, file: Path) -> None:
    """Write the graph in integers."""
    onnx.save(integer_graph(source.network, source.setting), file)


def read_back(file: Path, threads: int) -> Opened:
    """Open the file in onnxruntime, with the decoder behind it.

    Raises:
        UserError: it cannot be read back.
    """
    session = readable_session(file, threads)
    levels = read_levels(onnx.load(file))
    [entry], outputs = ends_of(session)
    return Opened(
        entry,
        outputs,
        prepare=pixels,
        run=lambda image: session.run(None, {entry.name: image}),
        decode=lambda found: decode({end.name: one for end, one in zip(outputs, found, strict=True)}, levels),
    )


TARGET = Target(
    file="integer.onnx",
    runtime="onnxruntime",
    suits="NPUs that compute in integers alone",
    reading=(
        "two outputs of integers per level, each with a scale and zero point of its own, listed under levels; "
        "src/deployment/integer_decoder.py turns them into boxes and scores; suppress double boxes afterwards"
    ),
    write=write,
    open=read_back,
    foreign=lambda flags: "the time of onnxruntime on this processor, without the decoding; that of an NPU is unknown",
)
