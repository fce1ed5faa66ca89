"""litert: INT8 TFLite with a float head, for LiteRT on phones and boards."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src.delivery.opened import End, Opened, as_it_is, unreadable
from src.delivery.target import Source, Target
from src.deployment.export import export_tflite
from src.deployment.graph import float_head
from src.deployment.litert import count_tflite_convolutions, quantize_tflite
from src.foundation.errors import UserError


def write(source: Source, file: Path) -> None:
    """Export to TFLite and quantize it with the images that calibrate observed.

    Raises:
        UserError: a learned convolution stays in float.
    """
    images = tqdm(source.network.images(), desc="images", total=len(source.network.calibration.images))
    with tempfile.TemporaryDirectory(prefix="litert-") as scratch:
        in_float = export_tflite(source.weights, Path(scratch), source.network.calibration.imgsz)
        quantize_tflite(in_float, file, images, threads=source.network.threads)
    found = count_tflite_convolutions(file)
    # With DFL, the convolution that takes the expectation of a box's sides stays in float with the head.
    of_dfl = sum(node.op_type == "Conv" for node in float_head(source.network.model))
    if found.float > of_dfl:
        raise UserError(f"{found.float - of_dfl} learned convolutions stay in float")


def read_back(file: Path, threads: int) -> Opened:
    """Open a file in LiteRT.

    Raises:
        UserError: it cannot be read back.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(file), num_threads=threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise unreadable(file, error) from error
    [entry], [output] = interpreter.get_input_details(), interpreter.get_output_details()
    height, width = (int(side) for side in entry["shape"][-2:])

    def run(image: NDArray[Any]) -> list[NDArray[Any]]:
        interpreter.set_tensor(entry["index"], image)
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"])]

    def decode(found: Any) -> NDArray[np.float32]:
        in_px: NDArray[np.float32] = found[0].copy()
        in_px[:, :4] *= np.array([[width], [height], [width], [height]])  # the file gives fractions of them
        return in_px

    return Opened(_end(entry), (_end(output),), prepare=as_it_is, run=run, decode=decode)


def _end(details: dict[str, Any]) -> End:
    shape = tuple(int(length) for length in details["shape"])
    return End(str(details["name"]), shape, np.dtype(details["dtype"]).name)


TARGET = Target(
    file="int8.tflite",
    runtime="LiteRT",
    suits="LiteRT on phones and boards",
    reading=(
        "one output, float: box centre x, y, width and height as fractions of the input's, then a score in [0, 1] per "
        "class, for each location; suppress double boxes afterwards"
    ),
    write=write,
    open=read_back,
    foreign=lambda flags: "the time on this processor, not that of a phone or board",
    extra="litert",
    packages=("ai_edge_litert", "ai_edge_quantizer", "litert_torch"),
)
