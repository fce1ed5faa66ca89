"""rknn: INT8 for Rockchip's NPUs. The network ends behind the head's last convolutions, as that of `integer` does.

The file is for one chip, `PLATFORM`: each has its own kind of file. rknn-toolkit2 finds the ranges itself, with the
images that calibrate observed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from src.delivery.integer_graph import float_levels, pixels
from src.delivery.opened import End, Image, Opened
from src.delivery.rockchip import ENVIRONMENT, Simulator
from src.delivery.target import Source, Target
from src.deployment.integer_decoder import decode_level

PLATFORM = "rk3588"
"""The chip: such as rk3562, rk3566, rk3568, rk3576 or rk3588."""

NETWORK, IMAGES = "network.onnx", "images"


def write(source: Source, file: Path) -> None:
    """Write what the file is built from beside it. It is built when it is opened: see src/delivery/rockchip.py.

    Raises:
        UserError: the head cannot be cut off.
    """
    model = float_levels(source.network.model, source.network.calibration.imgsz)
    onnx.save(model, file.with_name(NETWORK))
    folder = file.with_name(IMAGES)
    folder.mkdir()
    for number, image in enumerate(source.network.images()):
        cv2.imwrite(str(folder / f"{number:06}.png"), _pixels(image)[0, :, :, ::-1])


def build(file: Path, threads: int) -> Opened:
    """Build the file and open it in the simulator.

    Raises:
        UserError: it cannot be built.
    """
    model = onnx.load(file.with_name(NETWORK), load_external_data=False)
    simulator = Simulator(
        file.parent,
        file.with_name(NETWORK),
        sorted(file.with_name(IMAGES).iterdir()),
        file,
        PLATFORM,
        threads,
    )
    [entry] = model.graph.input
    _, colours, height, width = (dim.dim_value for dim in entry.type.tensor_type.shape.dim)
    names = [output.name for output in model.graph.output]
    probe = simulator.run(np.zeros((1, height, width, colours), np.uint8))

    def decode(found: Any) -> NDArray[np.float32]:
        pairs = zip(found[::2], found[1::2], strict=True)
        levels = [decode_level(boxes, classes, height // boxes.shape[2]) for boxes, classes in pairs]
        return np.concatenate(levels, axis=2)

    return Opened(
        End(entry.name, (1, height, width, colours), "uint8"),
        tuple(End(name, one.shape, "int8") for name, one in zip(names, probe, strict=True)),
        prepare=_pixels,
        run=simulator.run,
        decode=decode,
    )


def _pixels(image: Image) -> NDArray[np.uint8]:
    """Return an image as (1, H, W, 3), the pixels themselves."""
    return np.ascontiguousarray(pixels(image).transpose(0, 2, 3, 1))


TARGET = Target(
    file=f"{PLATFORM}.rknn",
    runtime="rknn-toolkit2's simulator",
    suits=f"the NPU of Rockchip's {PLATFORM.upper()}",
    reading=(
        "two outputs of int8 per level, each with a scale and zero point that rknn_query tells (want_float: floats); "
        "decode_level in src/deployment/integer_decoder.py turns the floats into boxes and scores; suppress double "
        "boxes afterwards"
    ),
    write=write,
    open=build,
    foreign=lambda flags: "the time of the simulator; that of the NPU is unknown",
    environment=ENVIRONMENT,
)
