from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from src.deployment.graph import learned_convolutions
from src.deployment.images import load_image
from src.deployment.kernels import count_convolutions
from src.foundation.errors import UserError
from src.quantization.int8 import quantize_network
from src.quantization.ranges.minmax import minmax_range
from src.quantization.ranges.observation import observe
from tests.quantization.grid import dequantize, quantize, scale_and_zero_point
from tests.quantization.networks import IMGSZ, LEVELS, SETTING, random_images, run, single_convolution

pytestmark = pytest.mark.slow


def ranges_of(model: onnx.ModelProto, images: list[Path]) -> dict[str, tuple[float, float]]:
    observations = observe(model, images, partial(load_image, imgsz=IMGSZ), bins=8, threads=1, on_image=lambda: None)
    return {name: minmax_range(seen.histogram) for name, seen in observations.items()}


def weights_on_their_grid(weights: np.ndarray, *, per_channel: bool) -> np.ndarray:
    """Return weights rounded to symmetric int8 without -128, with one scale per row or one for all."""
    greatest = np.abs(weights).max(axis=1, keepdims=True) if per_channel else np.abs(weights).max()
    scales = greatest / 127
    return np.round(weights / scales) * scales


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("per_channel", [pytest.param(True, id="per channel"), pytest.param(False, id="per tensor")])
@pytest.mark.parametrize("symmetric", [pytest.param(True, id="symmetric"), pytest.param(False, id="asymmetric")])
def test_a_convolution_agrees_with_numpy_on_the_grids(form: str, per_channel: bool, symmetric: bool) -> None:
    model, weights, biases = single_convolution()
    x = np.random.default_rng(1).normal(0.3, 1, (1, 3, 4, 4)).astype(np.float32)
    y = np.einsum("oi,nihw->nohw", weights, x) + biases[:, None, None]
    ranges = {"x": (float(x.min()), float(x.max())), "y": (float(y.min()), float(y.max()))}
    setting = replace(
        SETTING,
        format=form,
        per_channel=per_channel,
        symmetric_activations=symmetric,
        float_head=False,
    )
    if symmetric:
        ends = {name: max(-low, high) for name, (low, high) in ranges.items()}
        grids = {name: (2 * end / 255, 128) for name, end in ends.items()}
    else:
        grids = {name: scale_and_zero_point(*bounds) for name, bounds in ranges.items()}

    x_on_grid = dequantize(quantize(x, *grids["x"]), *grids["x"])
    w_on_grid = weights_on_their_grid(weights, per_channel=per_channel)
    y_on_grid = np.einsum("oi,nihw->nohw", w_on_grid, x_on_grid) + biases[:, None, None]
    expected = dequantize(quantize(y_on_grid, *grids["y"]), *grids["y"])
    found = run(quantize_network(model, ranges, setting), x)
    # A sum half way between two steps may be rounded to either.
    steps = np.abs(found - expected) / grids["y"][0]
    assert steps.max() < 1.01
    assert (steps > 0.01).mean() < 0.05


def test_asymmetric_grids_are_finer_for_positive_weights() -> None:
    model, weights, biases = single_convolution()
    positive = np.abs(weights) + 0.5
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kernel = stored[model.graph.node[0].input[1]]
    kernel.CopyFrom(numpy_helper.from_array(positive.reshape(kernel.dims).astype(np.float32), kernel.name))
    x = np.random.default_rng(1).normal(0.3, 1, (1, 3, 4, 4)).astype(np.float32)
    expected = np.einsum("oi,nihw->nohw", positive, x) + biases[:, None, None]
    ranges = {"x": (float(x.min()), float(x.max())), "y": (float(expected.min()), float(expected.max()))}
    setting = replace(SETTING, per_channel=False, weight_type="uint8", float_head=False)
    errors = [
        np.abs(run(quantize_network(model, ranges, replace(setting, symmetric_weights=symmetric)), x) - expected).mean()
        for symmetric in (True, False)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("kind", ["yolov8n", "yolov8n with ReLU", "yolo11n", "yolo26n", "yolov8n of one class"])
def test_every_learned_convolution_of_a_detector_runs_in_integers(
    kind: str, networks: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(networks[kind])
    ranges = ranges_of(model, random_images(tmp_path, 2))
    onnx.save(quantize_network(model, ranges, SETTING), tmp_path / "int8.onnx")
    float_convolutions = count_convolutions(networks[kind]).float
    counted = count_convolutions(tmp_path / "int8.onnx")
    dfl = 0 if kind == "yolo26n" else 1
    assert (counted.integer, counted.float) == (float_convolutions - dfl, LEVELS * dfl)


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("kind", ["yolov8n", "yolov8n with ReLU"])
@pytest.mark.parametrize("layer", [0, 5, 30, -1])
def test_a_layer_left_in_float_runs_in_float(
    layer: int, kind: str, form: str, networks: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(networks[kind])
    ranges = ranges_of(model, random_images(tmp_path, 2))
    name = learned_convolutions(model)[layer]
    onnx.save(quantize_network(model, ranges, replace(SETTING, format=form), in_float=[name]), tmp_path / "int8.onnx")
    assert count_convolutions(tmp_path / "int8.onnx").float == 1 + LEVELS  # and DFL's


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_a_quantized_detector_predicts_like_the_float_one_and_keeps_its_metadata(
    form: str, networks: dict[str, Path], tmp_path: Path
) -> None:
    model = onnx.load(networks["yolov8n"])
    images = random_images(tmp_path, 4)
    int8 = quantize_network(model, ranges_of(model, images), replace(SETTING, format=form))
    onnx.checker.check_model(int8, full_check=form == "qdq")  # QOperator has operators of onnxruntime's own
    image = load_image(images[0], IMGSZ)
    in_float, in_int8 = run(model, image), run(int8, image)
    assert np.abs(in_float - in_int8)[:, :4].mean() < 0.05 * IMGSZ
    assert np.corrcoef(in_float[:, 4:].ravel(), in_int8[:, 4:].ravel())[0, 1] > 0.9
    metadata = {entry.key: entry.value for entry in int8.metadata_props}
    assert metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["names"] == "{0: 'class 0', 1: 'class 1', 2: 'class 2'}"
    assert int8.ByteSize() < 0.3 * model.ByteSize()


def test_without_the_float_head_every_score_is_lost(networks: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(networks["yolov8n"])
    images = random_images(tmp_path, 2)
    int8 = quantize_network(model, ranges_of(model, images), replace(SETTING, float_head=False))
    scores = run(int8, load_image(images[0], IMGSZ))[:, 4:]
    # The grid spans the pixels of the image, so scores are zero or a step.
    assert len(np.unique(scores)) <= 6


def test_the_same_input_gives_the_same_bytes_and_does_not_change(networks: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(networks["yolov8n"])
    before = model.SerializeToString()
    ranges = ranges_of(model, random_images(tmp_path, 2))
    first, second = (quantize_network(model, ranges, SETTING).SerializeToString() for _ in range(2))
    assert first == second
    assert model.SerializeToString() == before


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_a_bias_that_two_convolutions_share_keeps_its_value_under_either_scale(form: str) -> None:
    model, weights, _ = single_convolution()
    faint = np.full((5, 5, 1, 1), 0.001, np.float32)
    del model.graph.initializer[1]
    model.graph.initializer.extend(
        [onnx.numpy_helper.from_array(np.full(5, 700, np.float32), "b"), onnx.numpy_helper.from_array(faint, "faint")]
    )
    model.graph.node.extend([onnx.helper.make_node("Conv", ["y", "faint", "b"], ["z"])])
    model.graph.output[0].name = "z"
    x = np.random.default_rng(1).normal(size=(1, 3, 4, 4)).astype(np.float32)
    y = np.einsum("oi,nihw->nohw", weights, x) + 700
    z = 0.001 * y.sum(axis=1, keepdims=True).repeat(5, axis=1) + 700
    ranges = {name: (min(values.min(), 0), max(values.max(), 0)) for name, values in {"x": x, "y": y, "z": z}.items()}
    int8 = quantize_network(model, ranges, replace(SETTING, format=form, float_head=False))
    assert np.abs(run(int8, x) - z).max() < 2 * ranges["z"][1] / 255


def test_types_that_no_kernel_supports_are_refused() -> None:
    model, _, _ = single_convolution()
    with pytest.raises(UserError, match=r"weight_type must be int8 .* got uint8"):
        quantize_network(model, {}, replace(SETTING, activation_type="int8", weight_type="uint8"))


def test_for_openvino_no_node_is_between_a_convolution_and_its_silu(networks: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(networks["yolov8n"])
    images = random_images(tmp_path, 4)
    int8 = quantize_network(model, ranges_of(model, images), replace(SETTING, target="openvino"))
    readers: dict[str, set[str]] = {}
    for node in int8.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    read_by = [readers[node.output[0]] for node in int8.graph.node if node.op_type == "Conv"]
    activated = [kinds for kinds in read_by if "Mul" in kinds]
    assert len(activated) == 57
    assert all(kinds == {"Sigmoid", "Mul"} for kinds in activated)
    image = load_image(images[0], IMGSZ)
    assert np.corrcoef(run(model, image)[:, 4:].ravel(), run(int8, image)[:, 4:].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["yolov8n", "yolo11n", "yolo26n"])
def test_for_amx_every_silu_is_a_tanh(networks: dict[str, Path], tmp_path: Path, kind: str) -> None:
    model = onnx.load(networks[kind])
    images = random_images(tmp_path, 4)
    ranges = ranges_of(model, images)
    fused = quantize_network(model, ranges, replace(SETTING, target="openvino"))
    apart = quantize_network(model, ranges, replace(SETTING, target="openvino_amx"))
    onnx.checker.check_model(apart, full_check=True)
    kinds = [Counter(node.op_type for node in one.graph.node) for one in (fused, apart)]
    assert kinds[1]["Tanh"] == kinds[0]["Sigmoid"] - kinds[1]["Sigmoid"] >= 57
    if kind == "yolov8n":  # the others' random weights amplify differences in the last digits
        image = load_image(images[0], IMGSZ)
        np.testing.assert_allclose(run(apart, image), run(fused, image), rtol=0.01)


@pytest.mark.parametrize("target", ["openvino", "openvino_amx"])
def test_openvino_has_no_kernels_for_qoperator(target: str) -> None:
    model, _, _ = single_convolution()
    with pytest.raises(UserError, match=rf"format must be qdq where target is {target}, got qoperator"):
        quantize_network(model, {}, replace(SETTING, target=target, format="qoperator"))
