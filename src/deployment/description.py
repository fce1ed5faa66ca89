"""What an ONNX file says about its detector: `export_onnx` has ultralytics write it, and quantization keeps it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from src.foundation.errors import UserError


@dataclass(frozen=True)
class Description:
    """A detector, as the code around it needs to know it.

    Attributes:
        names: of the classes, by index.
        imgsz: px, height and width of the input.
    """

    names: list[str]
    imgsz: tuple[int, int]


def describe(network: Path) -> Description:
    """Return the description of an ONNX detector.

    Raises:
        UserError: it is not a detector that this project exported: it is no ONNX file, its metadata have no class names
            or no size, or its input and output are not those of `export_onnx`.
    """
    try:
        model = onnx.load(network, load_external_data=False)
    except DecodeError as error:
        raise _unfit(network, "it is no network in ONNX") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        names, (height, width) = ast.literal_eval(metadata["names"]), ast.literal_eval(metadata["imgsz"])
        found = Description([str(names[index]) for index in range(len(names))], (int(height), int(width)))
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        raise _unfit(network, "its metadata have no class names or no size of the image") from error
    _expect_shapes(network, model, found)
    return found


def _expect_shapes(network: Path, model: onnx.ModelProto, of: Description) -> None:
    inputs, outputs = ([_shape(tensor) for tensor in tensors] for tensors in (model.graph.input, model.graph.output))
    image = [1, 3, *of.imgsz]
    if inputs != [image]:
        raise _unfit(network, f"expected one input {image}, found {', '.join(map(str, inputs)) or 'none'}")
    per_location = 4 + len(of.names)
    if len(outputs) != 1 or len(outputs[0]) != 3 or outputs[0][1] != per_location:
        shown = ", ".join(map(str, outputs)) or "none"
        raise _unfit(network, f"expected one output [1, {per_location}, locations], found {shown}")


def _shape(tensor: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim]


def _unfit(network: Path, reason: str) -> UserError:
    return UserError(f"{network}: not a detector that this project exported: {reason}")
