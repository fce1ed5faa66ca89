"""A detector without a float operator: 8-bit integers go in, 8-bit integers come out, and only integers are between.

There are two forms. What "no float operator" means in each, `float_operators` checks:

- qoperator: every tensor that depends on the image is of an integer type. The operators are QLinearConv and others of
  onnxruntime's QOperator format, whose inputs and outputs are integers; scales are constants. SiLU is a QLinearSigmoid,
  which runtimes compute as a table of 256 entries, and a QLinearMul.
- qdq: every operator stands between DequantizeLinear and QuantizeLinear, the pattern in which compilers of NPUs
  recognise an operator on integers. Both ends of the graph are integers, too. A runtime without such a compiler may
  compute in float.

The head is cut behind its last convolutions: no grid of 8 bits holds pixels (0 to 640) and scores (0 to 1) at once.
Each level has an output for boxes and one for classes, each with a scale and zero point of its own. What remains of the
head is computed from these by `integer_decoder`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from src.deployment.graph import activations, copy_to_quantize, float_head, head_inputs, remove_unused
from src.deployment.integer_decoder import Grid, Level, levels_from
from src.deployment.links import Links
from src.deployment.session import open_session
from src.foundation.errors import UserError
from src.foundation.image_size import ImageSize, height_width
from src.quantization.calibrated_network import CalibratedNetwork, LayerRanking
from src.quantization.ranges.calibration import Range
from src.quantization.setting import Setting

LEAST_LOGIT = -8.0
"""Logits of classes below this are clipped to it: a score of 0.0003, which nobody reads. Trained detectors have logits
of -100, and a grid that reaches so far is too coarse near 0, where scores are decided."""

PIXEL = np.float32(1 / 255)
"""The scale of the input: the pixels of an image are its integers."""

LEVELS = "levels"
"""The entry of the file's metadata with the levels, as JSON."""

_KEPT_METADATA = {"names", "imgsz", "license", "description"}
"""The others tell ultralytics that it can decode the outputs, which it cannot."""


@dataclass(frozen=True)
class _HeadLevel:
    """The tensors behind the last convolutions of one level."""

    stride: int
    boxes: str
    classes: str


def integer_graph(network: CalibratedNetwork, setting: Setting, form: str = "qoperator") -> onnx.ModelProto:
    """Return the detector in integers, with its levels in the metadata.

    Args:
        network: the float network and its ranges.
        setting: how it is quantized; the type of activations and the head are those of this graph.
        form: qoperator or qdq.

    Raises:
        UserError: it has another head than one of boxes and classes per level, or an operator that has no form in
            integers.
    """
    levels = _levels(network.model, network.calibration.imgsz)
    [image] = [one.name for one in network.model.graph.input]
    cut = replace(
        network,
        model=_without_head(network.model, levels),
        calibration=replace(network.calibration, tensors=_with_own_ranges(network, setting, image, levels)),
    )
    setting = replace(setting, target="onnxruntime", format=form, activation_type="uint8", float_layers=0)
    quantized = cut.quantized(setting, LayerRanking(cut, setting, images=1))
    grids = _end_in_integers(quantized, image, levels)
    remove_unused(quantized)
    _describe(network.model, quantized, grids)
    if found := float_operators(quantized, form):
        kinds = ", ".join(sorted({node.op_type for node in found}))
        other = ": choose integer_qdq" if form != "qdq" else ""
        raise UserError(f"the graph is not in integers, these operators compute in float: {kinds}{other}")
    return quantized


def float_levels(model: onnx.ModelProto, imgsz: ImageSize) -> onnx.ModelProto:
    """Return a detector in float that ends where the integer graph ends, for compilers that quantize it themselves.

    Its outputs are named as those of the integer graph, boxes and classes of the smallest stride first.

    Raises:
        UserError: it has another head than one of boxes and classes per level.
    """
    levels = _levels(model, imgsz)
    cut = _without_head(model, levels)
    names = {level.boxes: f"boxes_{level.stride}" for level in levels}
    names |= {level.classes: f"classes_{level.stride}" for level in levels}
    for node in cut.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in cut.graph.output:
        output.name = names[output.name]
    return cut


def read_levels(model: onnx.ModelProto) -> list[Level]:
    """Return the levels that an integer graph describes in its metadata."""
    [levels] = [entry.value for entry in model.metadata_props if entry.key == LEVELS]
    return levels_from(json.loads(levels))


def float_operators(model: onnx.ModelProto, form: str) -> list[onnx.NodeProto]:
    """Return the operators that compute in float: those that read or write a float tensor of the image.

    In the form qdq, a tensor that a DequantizeLinear writes, or that QuantizeLinear alone reads, stands for integers.
    """
    floats = set(float_tensors(model))
    if form == "qdq":
        links = Links(model.graph)
        floats = {name for name in floats if not _stands_for_integers(name, links)}
    return [node for node in model.graph.node if floats & {*node.input, *node.output}]


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the tensors between the input and the outputs, both included, that are not of an integer type.

    onnxruntime infers the types, because ONNX knows nothing of the operators that it added.
    """
    between = activations(model)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {output.name for output in shown.graph.output} | {one.name for one in shown.graph.input}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in between if name not in known)
    session = open_session(shown, fused=False)
    types = {one.name: one.type for one in (*session.get_inputs(), *session.get_outputs())}
    return [name for name in between if "int" not in types[name]]


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """Return how often each operator occurs, by name in alphabetical order."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def _stands_for_integers(tensor: str, links: Links) -> bool:
    source, readers = links.producers.get(tensor), links.readers[tensor]
    if source is None or tensor in links.outputs:
        return False
    return source.op_type == "DequantizeLinear" or {reader.op_type for reader in readers} == {"QuantizeLinear"}


def _levels(model: onnx.ModelProto, imgsz: ImageSize) -> list[_HeadLevel]:
    """Return the levels of a detector's head, the smallest stride first."""
    shapes = {
        one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim]
        for one in shape_inference.infer_shapes(model).graph.value_info
    }
    head = Links(onnx.helper.make_graph(float_head(model), "head", [], model.graph.output))
    height, width = height_width(imgsz)
    found: dict[int, dict[str, str]] = {}
    for name in head_inputs(model):
        shape = shapes.get(name, [])
        stride = height // shape[2] if len(shape) == 4 and shape[2] else 0
        if not stride or shape[0] != 1 or (stride * shape[2], stride * shape[3]) != (height, width):
            raise UserError(f"the head reads {name}, which is no level of the image: it cannot be cut there")
        kind = "classes" if _reaches_sigmoid(name, head) else "boxes"
        level = found.setdefault(stride, {})
        if kind in level:
            raise UserError(f"the head has two outputs for {kind} at stride {stride}: it cannot be cut")
        level[kind] = name
    if not found or any(len(level) != 2 for level in found.values()):
        raise UserError("the head has no pair of boxes and classes per level: it cannot be cut")
    return [_HeadLevel(stride, **found[stride]) for stride in sorted(found)]


def _reaches_sigmoid(tensor: str, head: Links) -> bool:
    """Return whether a sigmoid comes behind a tensor of the float head, as behind the logits of classes."""
    waiting, seen = [tensor], set()
    while waiting:
        for node in head.readers[waiting.pop()]:
            if node.op_type == "Sigmoid":
                return True
            if id(node) not in seen:
                seen.add(id(node))
                waiting.extend(node.output)
    return False


def _without_head(model: onnx.ModelProto, levels: list[_HeadLevel]) -> onnx.ModelProto:
    """Return a copy that ends behind the head's last convolutions."""
    cut = copy_to_quantize(model)
    head = {node.name for node in float_head(cut)}
    for node in [node for node in cut.graph.node if node.name in head]:
        cut.graph.node.remove(node)
    del cut.graph.output[:]
    ends = [name for level in levels for name in (level.boxes, level.classes)]
    cut.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ends)
    remove_unused(cut)
    return cut


def _with_own_ranges(
    network: CalibratedNetwork, setting: Setting, image: str, levels: list[_HeadLevel]
) -> dict[str, Any]:
    """Return the calibrated tensors with the ranges that this graph gives to the image and to the classes."""
    tensors = dict(network.calibration.tensors)
    ranges = network.calibration.ranges(setting.calibrator)
    own: dict[str, Range] = {image: (0.0, 1.0)}
    for level in levels:
        low, high = ranges[level.classes]
        own[level.classes] = (max(low, LEAST_LOGIT), high)
    for name, range_ in own.items():
        tensors[name] = replace(tensors[name], ranges={setting.calibrator: range_})
    for name in tensors.keys() - own.keys():
        tensors[name] = replace(tensors[name], ranges={setting.calibrator: ranges[name]})
    return tensors


def _end_in_integers(model: onnx.ModelProto, image: str, levels: list[_HeadLevel]) -> list[Level]:
    """Remove the conversions at both ends, in place, and return the levels with the grids of their outputs."""
    graph = model.graph
    links = Links(graph)
    [entry] = links.readers[image]
    assert entry.op_type == "QuantizeLinear", entry.op_type
    scale, zero_point = (numpy_helper.to_array(links.constants[name]) for name in entry.input[1:3])
    assert np.isclose(scale, PIXEL), scale
    assert zero_point == 0, zero_point
    for reader in links.readers[entry.output[0]]:
        reader.input[0] = image
    graph.node.remove(entry)
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    del graph.output[:]
    return [
        Level(
            level.stride,
            _end(graph, links, level.boxes, f"boxes_{level.stride}"),
            _end(graph, links, level.classes, f"classes_{level.stride}"),
        )
        for level in levels
    ]


def _end(graph: onnx.GraphProto, links: Links, tensor: str, name: str) -> Grid:
    """Make the integers of a tensor an output of the graph, under a new name, and return their grid."""
    conversion = links.producers[tensor]
    assert conversion.op_type == "DequantizeLinear", conversion.op_type
    scale, zero_point = (numpy_helper.to_array(links.constants[one]) for one in conversion.input[1:3])
    convolution = links.producers[conversion.input[0]]
    convolution.output[0] = name
    graph.node.remove(conversion)
    kind = helper.np_dtype_to_tensor_dtype(zero_point.dtype)
    graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return Grid(name, float(scale), int(zero_point))


def _describe(source: onnx.ModelProto, target: onnx.ModelProto, levels: list[Level]) -> None:
    del target.metadata_props[:]
    kept: Mapping[str, str] = {one.key: one.value for one in source.metadata_props if one.key in _KEPT_METADATA}
    entries = {**kept, LEVELS: json.dumps([asdict(level) for level in levels])}
    target.metadata_props.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in entries.items())


def pixels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the pixels 0 to 255 of an image in [0, 1]: the input of an integer graph."""
    return np.rint(image * 255).astype(np.uint8)
