"""ncnn_int8: the files of `ncnn` with convolutions in INT8, quantized with the ranges that calibrate chose."""

from __future__ import annotations

from pathlib import Path

import onnx

from src.delivery.ncnn_files import convert, read_layers, write_layers
from src.delivery.ncnn_int8 import quantize
from src.delivery.target import Source, Target
from src.deployment.graph import copy_to_quantize, learned_convolutions
from src.quantization.calibrated_network import LayerRanking
from src.quantization.ranges.calibration import Range
from src.targets.ncnn import TARGET as NCNN


def write(source: Source, file: Path) -> None:
    """Write the network with its learned convolutions in INT8, but for the most sensitive ones if the setting says so.

    Raises:
        UserError: it cannot be converted or quantized.
    """
    weights = file.with_suffix(".bin")
    convert(source.network.model, file, weights, half=False)
    layers, integers = quantize(read_layers(file), weights.read_bytes(), source.network.model, _inputs(source))
    write_layers(layers, file)
    weights.write_bytes(integers)


def _inputs(source: Source) -> dict[str, Range]:
    """Return the range of the input of each convolution that is to be in integers, by name."""
    network, setting = source.network, source.setting
    ranking = LayerRanking(network, setting, source.sensitivity_images)
    kept = {*learned_convolutions(network.model)} - {*ranking.most_sensitive(setting.float_layers)}
    ranges = network.calibration.ranges(setting.calibrator)
    nodes: list[onnx.NodeProto] = list(copy_to_quantize(network.model).graph.node)
    return {node.name: ranges[node.input[0]] for node in nodes if node.name in kept}


TARGET = Target(
    file="int8.ncnn.param",
    beside=("int8.ncnn.bin",),
    runtime=NCNN.runtime,
    suits=NCNN.suits,
    reading=NCNN.reading,
    write=write,
    open=NCNN.open,
    foreign=NCNN.foreign,
    extra=NCNN.extra,
    packages=NCNN.packages,
)
