from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.delivery import ncnn_int8
from src.delivery.ncnn_files import Layer, convert, read_layers, write_layers
from src.foundation.errors import UserError

ncnn = pytest.importorskip("ncnn")
pytest.importorskip("pnnx")

SIDE = 12
RANGE = (-0.5, 1.0)


def network(weights: np.ndarray, *, side: int = SIDE, stride: int = 1, groups: int = 1) -> onnx.ModelProto:
    """Return a convolution without padding, named `only`, with a bias, and a sigmoid behind it."""
    channels = weights.shape[1] * groups
    bias = np.linspace(-1, 1, len(weights)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], name="only", strides=[stride, stride], group=groups),
        helper.make_node("Sigmoid", ["y"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, side, side])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def converted(model: onnx.ModelProto, folder: Path) -> tuple[list[Layer], bytes]:
    convert(model, folder / "net.param", folder / "net.bin", half=False)
    return read_layers(folder / "net.param"), (folder / "net.bin").read_bytes()


def run(layers: list[Layer], weights: bytes, folder: Path, image: np.ndarray) -> np.ndarray:
    write_layers(layers, folder / "run.param")
    (folder / "run.bin").write_bytes(weights)
    net = ncnn.Net()
    net.opt.num_threads = 1
    assert net.load_param(str(folder / "run.param")) == 0
    assert net.load_model(str(folder / "run.bin")) == 0
    with net.create_extractor() as extractor:
        extractor.input("in0", ncnn.Mat(image))
        return np.array(extractor.extract("out0")[1])


def in_integers(image: np.ndarray, weights: np.ndarray, largest: int, stride: int, groups: int) -> np.ndarray:
    """Return what a convolution of integers and a sigmoid give, by their definition."""
    input_scale = 127 / max(map(abs, RANGE))
    scales = largest / np.abs(weights).max(axis=(1, 2, 3))
    pixels = np.clip(np.rint(image * input_scale), -127, 127)
    integers = np.rint(weights * scales[:, None, None, None])
    size = weights.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    per_group = np.split(windows, groups)
    kernels = np.split(integers, groups)
    sums = [np.einsum("cyxij,ocij->oyx", one, other) for one, other in zip(per_group, kernels, strict=True)]
    bias = np.linspace(-1, 1, len(weights))
    return 1 / (1 + np.exp(-(np.concatenate(sums) / (input_scale * scales)[:, None, None] + bias[:, None, None])))


@pytest.mark.parametrize(
    ("shape", "stride", "groups", "largest"),
    [
        pytest.param((5, 3, 1, 1), 1, 1, 127, id="1x1, 15 bytes"),
        pytest.param((16, 16, 3, 3), 2, 1, 127, id="3x3 with stride 2"),
        pytest.param((16, 16, 3, 3), 1, 1, 31, id="3x3 by Winograd"),
        pytest.param((16, 1, 3, 3), 1, 16, 127, id="depthwise"),
    ],
)
def test_ncnn_computes_the_integers_that_are_written(
    tmp_path: Path, shape: tuple[int, ...], stride: int, groups: int, largest: int
) -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=shape).astype(np.float32) / 16
    image = random.uniform(*RANGE, (shape[1] * groups, SIDE, SIDE)).astype(np.float32)
    model = network(weights, stride=stride, groups=groups)
    found = run(*ncnn_int8.quantize(*converted(model, tmp_path), model, {"only": RANGE}), tmp_path, image)
    np.testing.assert_allclose(found, in_integers(image, weights, largest, stride, groups), rtol=1e-4, atol=1e-4)


def test_what_stays_in_float_keeps_its_bytes(tmp_path: Path) -> None:
    model = network(np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32))
    layers, weights = converted(model, tmp_path)
    assert ncnn_int8.quantize(layers, weights, model, {}) == (layers, weights)


def test_the_shape_of_the_image_is_in_the_file(tmp_path: Path) -> None:
    layers, _ = converted(network(np.ones((4, 3, 1, 1), np.float32), side=8), tmp_path)
    assert layers[0].kind == "Input"
    assert [layers[0].number(key) for key in (0, 1, 2)] == [8, 8, 3]


def test_weights_of_an_unknown_layer_are_refused(tmp_path: Path) -> None:
    model = network(np.ones((4, 3, 1, 1), np.float32))
    layers, weights = converted(model, tmp_path)
    with pytest.raises(UserError, match="a layer that is no convolution has weights"):
        ncnn_int8.quantize(layers, weights + bytes(8), model, {})
    with pytest.raises(UserError, match="the weights end before the layers"):
        ncnn_int8.quantize(layers, weights[:-8], model, {})


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    layers, weights = converted(network(np.ones((4, 3, 1, 1), np.float32)), tmp_path)
    other = network(np.full((4, 3, 1, 1), 2, np.float32))
    with pytest.raises(UserError, match="ncnn has no convolution with the weights of only"):
        ncnn_int8.quantize(layers, weights, other, {"only": RANGE})


def test_an_operator_without_a_layer_is_one_line(tmp_path: Path) -> None:
    model = network(np.ones((4, 3, 1, 1), np.float32))
    model.graph.node[1].op_type = "Det"
    with pytest.raises(UserError, match=r"^ncnn has no layer for Det$"):
        converted(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_file_that_is_none_of_ncnn_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fp16.ncnn.param").write_text("spoilt")
    with pytest.raises(UserError, match=r"^fp16.ncnn.param cannot be read back: not the layers of ncnn$"):
        read_layers(tmp_path / "fp16.ncnn.param")
