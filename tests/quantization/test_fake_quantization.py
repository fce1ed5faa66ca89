from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.utils import parametrize
from ultralytics.nn.tasks import DetectionModel

from src.deployment.images import load_image
from src.detector.checkpoint import load_detector
from src.foundation.errors import UserError
from src.quantization.fake_quantization import Grid, with_fake_quantization, without_fake_quantization
from src.quantization.int8 import quantize_network
from src.quantization.setting import Setting
from tests.quantization.networks import IMGSZ, SETTING, random_images, run
from tests.quantization.test_int8 import ranges_of

pytestmark = pytest.mark.slow

SETTINGS = {
    "per channel": SETTING,
    "per tensor": replace(SETTING, per_channel=False),
    "weights with a zero point": replace(SETTING, per_channel=False, symmetric_weights=False),
    "unsigned weights": replace(SETTING, weight_type="uint8"),
    "for OpenVINO": replace(SETTING, target="openvino"),
    "for OpenVINO with AMX": replace(SETTING, target="openvino_amx"),
}
# Every setting with one network, and every other network with both placements of Q and DQ.
CASES = [("yolov8n", setting) for setting in SETTINGS] + [
    (kind, setting)
    for kind in ("yolov8n with ReLU", "yolo11n", "yolo26n")
    for setting in ("per channel", "for OpenVINO")
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return random_images(tmp_path_factory.mktemp("images"), 4)


def prepared(
    path: Path, images: list[Path], setting: Setting = SETTING
) -> tuple[DetectionModel, DetectionModel, onnx.ModelProto, onnx.ModelProto]:
    """Return the network, the one that rounds, the float graph and the INT8 graph."""
    model = onnx.load(path)
    int8 = quantize_network(model, ranges_of(model, images), setting)
    network = load_detector(path.with_suffix(".pt"))
    return network, with_fake_quantization(network, model, int8, setting), model, int8


def rounding_layers(network: DetectionModel) -> list[nn.Module]:
    return [module for module in network.modules() if parametrize.is_parametrized(module, "weight")]


def integer_weights(int8: onnx.ModelProto) -> list[np.ndarray]:
    """Return the real numbers that the INT8 weights of convolutions represent."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    sources = {node.output[0]: node.input for node in int8.graph.node if node.op_type == "DequantizeLinear"}
    found = []
    for node in int8.graph.node:
        if node.op_type == "Conv" and node.input[1] in sources and sources[node.input[1]][0] in constants:
            integers, scale, zero_point = (constants[name].astype(np.float32) for name in sources[node.input[1]])
            shape = (-1, 1, 1, 1) if scale.size > 1 else ()
            found.append(scale.reshape(shape) * (integers - zero_point.reshape(shape)))
    return found


@pytest.mark.parametrize(("kind", "setting"), CASES)
def test_weights_are_rounded_as_in_the_int8_graph(
    networks: dict[str, Path], images: list[Path], kind: str, setting: str
) -> None:
    _, rounding, _, int8 = prepared(networks[kind], images, SETTINGS[setting])
    expected = integer_weights(int8)
    layers = rounding_layers(rounding)
    assert len(layers) == len(expected) > 50
    assert all(layer._forward_pre_hooks for layer in layers)  # their inputs are rounded, too
    for layer, integers in zip(layers, sorted_like(layers, expected), strict=True):
        norm = layer.parametrizations.weight[0].norm[0]
        factor = 1.0 if norm is None else (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None, None]
        step = np.abs(integers).max() / 127
        # A tie may be rounded in either direction.
        assert np.abs((layer.weight * factor).detach().numpy() - integers).max() < 1.01 * step
        assert np.abs((layer.weight * factor).detach().numpy() - integers).mean() < 0.02 * step


def sorted_like(layers: list[nn.Module], weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return graph weights in the order of the layers, matched by similarity."""
    remaining = list(weights)
    ordered = []
    for layer in layers:
        norm = layer.parametrizations.weight[0].norm[0]
        factor = 1.0 if norm is None else (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None, None]
        own = (layer.weight * factor).detach().numpy()
        like = [index for index, weight in enumerate(remaining) if weight.shape == own.shape]
        ordered.append(remaining.pop(min(like, key=lambda index: np.abs(remaining[index] - own).sum())))
    return ordered


def test_the_first_layer_agrees_with_the_int8_graph(networks: dict[str, Path], images: list[Path]) -> None:
    network, rounding, model, int8 = prepared(networks["yolov8n"], images)
    image = load_image(images[0], IMGSZ)
    first = next(node.output[0] for node in model.graph.node if node.op_type == "Conv")
    [integers] = [node.output[0] for node in int8.graph.node if node.input[0] == first]
    [read, *_] = [node.output[0] for node in int8.graph.node if node.input[0] == integers]
    shown = onnx.ModelProto()
    shown.CopyFrom(int8)
    del shown.graph.output[:]
    shown.graph.output.append(onnx.ValueInfoProto(name=read))
    expected = run(shown, image)
    with torch.no_grad():
        exact, rounded = (layer.bn(layer.conv(torch.from_numpy(image))) for layer in first_layers(network, rounding))
    steps = np.abs(rounded.numpy() - expected) / np.diff(np.unique(expected)).min()
    assert steps.max() < 1.01
    assert (steps > 0.01).mean() < 0.05  # a sum half way between two steps
    assert np.abs(exact.numpy() - expected).mean() > 10 * np.abs(rounded.numpy() - expected).mean()


def first_layers(*networks: DetectionModel) -> list[nn.Module]:
    return [network.eval().model[0] for network in networks]


def test_rounding_includes_a_relu_that_the_graph_removed(networks: dict[str, Path], images: list[Path]) -> None:
    network, rounding, _, int8 = prepared(networks["yolov8n with ReLU"], images)
    assert not any(node.op_type == "Relu" for node in int8.graph.node)
    image = torch.from_numpy(load_image(images[0], IMGSZ))
    with torch.no_grad():
        exact, rounded = (layer(image) for layer in first_layers(network, rounding))
    assert rounded.min() == 0
    assert len(rounded.unique()) <= 256 < len(exact.unique())
    assert (rounded - exact).abs().mean() < 0.01 * exact.max()


def test_the_gradient_passes_through_rounding(networks: dict[str, Path], images: list[Path]) -> None:
    _, rounding, *_ = prepared(networks["yolov8n"], images)
    for parameter in rounding.parameters():
        parameter.requires_grad_(True)
    predictions = rounding.train()(torch.from_numpy(np.concatenate([load_image(image, IMGSZ) for image in images])))
    (predictions["scores"].sum() + predictions["boxes"].sum()).backward()
    for layer in rounding_layers(rounding):
        gradient = layer.parametrizations.weight.original.grad
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


def test_only_values_in_range_have_a_gradient() -> None:
    values = torch.tensor([-0.2, 0.0, 0.26, 1.0, 1.3], requires_grad=True)
    rounded = Grid(0.1, 0, 0, 10).rounded(values)
    assert rounded.tolist() == pytest.approx([0.0, 0.0, 0.3, 1.0, 1.0])
    rounded.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


def test_fake_quantization_can_be_removed_again(networks: dict[str, Path], images: list[Path]) -> None:
    network, rounding, *_ = prepared(networks["yolov8n"], images)
    with torch.no_grad():
        for layer in rounding_layers(rounding):
            layer.parametrizations.weight.original.add_(1)
    plain = without_fake_quantization(rounding, network)
    changed = dict(network.state_dict())
    moved = {key for key, value in plain.state_dict().items() if not torch.equal(value, changed[key])}
    assert len(moved) == len(rounding_layers(rounding))
    assert not rounding_layers(plain)


def test_a_graph_of_other_weights_is_refused(networks: dict[str, Path], images: list[Path]) -> None:
    model = onnx.load(networks["yolov8n"])
    int8 = quantize_network(model, ranges_of(model, images), SETTING)
    other = load_detector(networks["yolov8n of one class"].with_suffix(".pt"))
    with torch.no_grad():
        other.model[0].conv.weight.mul_(1.1)
    with pytest.raises(UserError, match=r"has the weights \(16, 3, 3, 3\)"):
        with_fake_quantization(other, model, int8, SETTING)
