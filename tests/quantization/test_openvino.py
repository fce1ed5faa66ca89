"""INT8 files in OpenVINO: which convolutions run in integers, and whether the outputs agree with onnxruntime's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from src.deployment.forwards import forwards_by_runtime
from src.deployment.images import load_image
from src.deployment.openvino_request import core
from src.quantization.int8 import quantize_network
from tests.quantization.networks import IMGSZ, LEVELS, SETTING, random_images
from tests.quantization.test_int8 import ranges_of

pytestmark = pytest.mark.slow

pytest.importorskip("openvino", reason="the extra openvino is not installed")


def kernels(network: Path) -> Counter[str]:
    """Return how many convolutions OpenVINO runs in each precision."""
    compiled = core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    ran = [(info["layerType"].astype(str), info["primitiveType"].astype(str)) for info in infos]
    return Counter(kernel.rpartition("_")[2].lower() for layer, kernel in ran if layer == "Convolution")


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "openvino_amx"])
@pytest.mark.parametrize("kind", ["yolov8n", "yolov8n with ReLU"])
def test_every_convolution_runs_in_integers_and_the_output_agrees_with_onnxruntime(
    networks: dict[str, Path], tmp_path: Path, kind: str, target: str
) -> None:
    model = onnx.load(networks[kind])
    images = random_images(tmp_path, 4)
    network = tmp_path / "int8.onnx"
    onnx.save(quantize_network(model, ranges_of(model, images), replace(SETTING, target=target)), network)
    assert kernels(network) == {"i8": 63, "f32": LEVELS}  # the sums of DFL's expectation
    image = load_image(images[0], IMGSZ)
    outputs = [forward()[0] for forward in forwards_by_runtime(network, image, threads=1).values()]
    boxes, scores = ([output[:, rows].ravel() for output in outputs] for rows in (slice(4), slice(4, None)))
    assert np.abs(boxes[0] - boxes[1]).mean() < 0.01 * IMGSZ
    assert np.corrcoef(*scores)[0, 1] > 0.99
