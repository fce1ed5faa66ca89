"""ncnn: weights in FP16, for phones and boards with ARM.

`src/delivery/ncnn_files.py` converts. A processor of ARM with FP16 computes in it, too; here FP32 computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.delivery.ncnn_files import CHANNELS, HEIGHT, WIDTH, convert, read_layers
from src.delivery.opened import End, Opened, as_it_is, unreadable
from src.delivery.quantized import READING
from src.delivery.target import Source, Target
from src.foundation.errors import UserError


def write(source: Source, file: Path) -> None:
    """Write the network with weights in FP16.

    Raises:
        UserError: it cannot be converted.
    """
    convert(source.network.model, file, file.with_suffix(".bin"), half=True)


def read_back(file: Path, threads: int) -> Opened:
    """Open the files in ncnn.

    Raises:
        UserError: they cannot be read back.
    """
    import ncnn

    layers = read_layers(file)
    [entry] = [layer for layer in layers if layer.kind == "Input"]
    shape = tuple(entry.number(key) for key in (CHANNELS, HEIGHT, WIDTH))
    net = ncnn.Net()
    net.opt.num_threads = threads
    if net.load_param(str(file)) or net.load_model(str(file.with_suffix(".bin"))):
        raise unreadable(file, UserError("ncnn refuses it, see above"))
    [name], [output] = net.input_names(), net.output_names()

    def run(image: NDArray[Any]) -> list[NDArray[Any]]:
        with net.create_extractor() as extractor:
            extractor.input(name, ncnn.Mat(image[0]))
            failed, found = extractor.extract(output)
            if failed:
                raise unreadable(file, UserError(f"no output {output}"))
            return [np.array(found)]  # a copy: the extractor owns the memory

    probe = run(np.zeros((1, *shape), np.float32))[0]
    return Opened(
        End(name, shape, "float32"),
        (End(output, probe.shape, "float32"),),
        prepare=as_it_is,
        run=run,
        decode=lambda found: found[0][None],  # ncnn has no batches
    )


TARGET = Target(
    file="fp16.ncnn.param",
    beside=("fp16.ncnn.bin",),
    runtime="ncnn",
    suits="ncnn on phones and boards with ARM",
    reading=READING,
    write=write,
    open=read_back,
    foreign=lambda flags: "the time on this processor, not that of a phone or board",
    extra="ncnn",
    packages=("ncnn", "pnnx"),
)
