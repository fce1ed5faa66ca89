"""INT8 for LiteRT: a TFLite file with integer convolutions and, as in ONNX, a float head.

ai-edge-quantizer does the quantization: weights symmetric and per channel, activations asymmetric int8 from the least
to the greatest observed value. The operators that stay in float are found with the same rule as in ONNX graphs
(`float_head`). With an integer head the accuracy drops far more.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from src.deployment.graph import float_head
from src.deployment.kernels import Convolutions
from src.foundation.atomic import whole_file

_METADATA = "metadata.json"
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
_ONNX_NAMES = {
    **dict.fromkeys(_CONVOLUTIONS, "Conv"),
    "SOFTMAX": "Softmax",
    "RESHAPE": "Reshape",
    "TRANSPOSE": "Transpose",
    "SLICE": "Slice",
    "SPLIT": "Split",
}
"""ONNX names of the operators that `float_head` has to recognise."""


def quantize_tflite(network: Path, target: Path, images: Iterable[NDArray[np.float32]], threads: int) -> None:
    """Write a float TFLite file of ultralytics as INT8, with its metadata; input and output stay float.

    Args:
        network: float32.
        target: the new file.
        images: (1, 3, height, width) each, RGB, [0, 1]; activations are observed on them.
        threads: number of CPU threads of the interpreter that observes.
    """
    from ai_edge_quantizer import qtyping, quantizer, recipe

    quantizing = quantizer.Quantizer(str(network), recipe.static_wi8_ai8())

    def keep_in_float(scope: str, operator: str) -> None:
        quantizing.update_quantization_recipe(scope, operator, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE)

    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        keep_in_float(".*", end)
    for scope in _head_scopes(network):
        keep_in_float(f"^{re.escape(scope)}$", qtyping.TFLOperationName.ALL_SUPPORTED)
    observed = quantizing.calibrate({"serving_default": [{"args_0": image} for image in images]}, num_threads=threads)
    with whole_file(target) as partial:
        quantizing.quantize(observed).export_model(partial, overwrite=True)
        _carry_metadata(network, partial)


def count_tflite_convolutions(network: Path) -> Convolutions:
    """Return how many convolutions of a TFLite file run in integers, and how many in float."""
    from ai_edge_litert.schema_py_generated import TensorType

    graph, operators = _read(network)
    types = [graph.tensors[operator.outputs[0]].type for name, operator in operators if name in _CONVOLUTIONS]
    return Convolutions(integer=types.count(TensorType.INT8), float=types.count(TensorType.FLOAT32))


def _head_scopes(network: Path) -> list[str]:
    """Return the scopes of the operators of the float head in ai-edge-quantizer: the names of their outputs."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    graph, operators = _read(network)
    nodes = [
        helper.make_node(
            _ONNX_NAMES.get(name, name),
            [str(index) for index in operator.inputs],
            [str(index) for index in operator.outputs],
            name=get_op_scope(operator, graph.tensors),
        )
        for name, operator in operators
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(str(index), onnx.TensorProto.FLOAT, None) for index in ends]
        for ends in (graph.inputs, graph.outputs)
    )
    return [node.name for node in float_head(helper.make_model(helper.make_graph(nodes, "tflite", inputs, outputs)))]


def _read(network: Path) -> tuple[Any, list[tuple[str, Any]]]:
    """Return a TFLite file's graph and its operators in order, each with the name of its kind."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

    model = read_model(str(network))
    [graph] = model.subgraphs
    kinds = {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}
    return graph, [(kinds[model.operatorCodes[one.opcodeIndex].builtinCode], one) for one in graph.operators]


def _carry_metadata(source: Path, target: Path) -> None:
    """Copy the metadata (class names, stride, ...) without the date, so that the same weights give the same bytes."""
    with zipfile.ZipFile(source) as archive:
        metadata = json.loads(archive.read(_METADATA))
    del metadata["date"]
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo(_METADATA), json.dumps(metadata))
