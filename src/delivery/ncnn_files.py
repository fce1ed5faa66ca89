"""Files of ncnn: the layers as text (.param), their weights in the same order (.bin). pnnx writes them from ONNX.

The ONNX file is the one whose activations calibrate observed, so that the weights of both are the same to the bit.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from src.foundation.errors import UserError

MAGIC = "7767517"
"""The first line of a .param file."""

WIDTH, HEIGHT, CHANNELS = 0, 1, 2
"""Keys of an Input layer: the shape of the image."""


@dataclass
class Layer:
    """A line of a .param file.

    Attributes:
        kind: such as Convolution.
        name: of the layer.
        inputs: names of the blobs that it reads.
        outputs: names of the blobs that it writes.
        settings: by ncnn's number of the setting, as text.
    """

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[int, str] = field(default_factory=dict)

    def number(self, key: int, default: int = 0) -> int:
        """Return a setting that is a whole number."""
        return int(self.settings.get(key, default))


def convert(model: onnx.ModelProto, param: Path, weights: Path, *, half: bool) -> None:
    """Write a network with one input as the two files of ncnn. Needs ncnn and pnnx.

    Args:
        model: the network in float, ONNX.
        param: the new file with the layers. The shape of the image is in its Input layer.
        weights: the new file with the weights.
        half: weights in FP16 instead of FP32.

    Raises:
        UserError: pnnx cannot convert it, or ncnn has no layer for one of its operators.
    """
    import ncnn
    import pnnx

    [image] = model.graph.input
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    with tempfile.TemporaryDirectory(prefix="ncnn-") as scratch:
        onnx.save(model, Path(scratch) / "network.onnx")
        # It writes a dozen files where it runs, and names these two after the network.
        command = [pnnx.EXEC_PATH, "network.onnx", f"inputshape={shape}".replace(" ", ""), f"fp16={int(half)}"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        made = Path(scratch) / "network.ncnn.param"
        if done.returncode or not made.exists():
            said = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
            raise UserError(f"pnnx cannot convert the network: {said[-1][:200] if said else done.returncode}")
        layers = read_layers(made)
        if unknown := sorted({layer.kind for layer in layers if ncnn.layer_to_index(layer.kind) < 0}):
            raise UserError(f"ncnn has no layer for {', '.join(unknown)}")
        [entry] = [layer for layer in layers if layer.kind == "Input"]
        entry.settings = dict(zip((CHANNELS, HEIGHT, WIDTH), map(str, shape[1:]), strict=True))
        write_layers(layers, param)
        weights.write_bytes(made.with_suffix(".bin").read_bytes())


def read_layers(param: Path) -> list[Layer]:
    """Return the layers of a .param file.

    Raises:
        UserError: it is not one.
    """
    try:
        magic, _, *lines = param.read_text(encoding="utf-8").splitlines()
        if magic != MAGIC:
            raise ValueError(magic)
        return [_layer(line.split()) for line in lines]
    except ValueError as error:
        raise UserError(f"{param.name} cannot be read back: not the layers of ncnn") from error


def write_layers(layers: Sequence[Layer], param: Path) -> None:
    """Write layers as a .param file."""
    blobs = sum(len(layer.outputs) for layer in layers)
    param.write_text("\n".join([MAGIC, f"{len(layers)} {blobs}", *map(_line, layers)]) + "\n", encoding="utf-8")


def _layer(words: Sequence[str]) -> Layer:
    """Return the layer of a line.

    >>> _layer("Convolution conv_1 1 1 in0 1 0=8 1=3".split())
    Layer(kind='Convolution', name='conv_1', inputs=['in0'], outputs=['1'], settings={0: '8', 1: '3'})
    """
    kind, name, inputs, outputs, *rest = words
    read, written = int(inputs), int(inputs) + int(outputs)
    pairs = (word.split("=", 1) for word in rest[written:])
    return Layer(kind, name, rest[:read], rest[read:written], {int(key): value for key, value in pairs})


def _line(layer: Layer) -> str:
    return " ".join(_words(layer))


def _words(layer: Layer) -> Iterator[str]:
    yield from (layer.kind, layer.name, str(len(layer.inputs)), str(len(layer.outputs)))
    yield from (*layer.inputs, *layer.outputs)
    yield from (f"{key}={value}" for key, value in layer.settings.items())
