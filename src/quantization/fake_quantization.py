"""Fake quantization for quantization-aware training: a torch network that rounds where an INT8 graph rounds.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (arXiv
1712.05877), section 3: the forward pass rounds weights and activations, the backward pass treats rounding as the
identity inside the range (the straight-through estimator). torch's own `fake_quantize` operators do both.

The list of rounded tensors and the S and Z of every activation are read from the INT8 graph itself. So training starts
from the calibrated ranges, in every setting. The ranges of activations do not change in training; the grids of weights
are computed from the current weights. The input, the weights and the output of each quantized convolution are rounded.
The operators between convolutions (the sigmoid in SiLU, Concat) are rounded only in the final quantization.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.utils import parametrize
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from src.deployment.graph import own_constants
from src.foundation.errors import UserError
from src.quantization.setting import Setting

_GRIDS = {np.dtype(np.uint8): (0, 255), np.dtype(np.int8): (-128, 127)}
_WEIGHT_GRIDS = {"int8": (-128, 127), "uint8": (0, 255)}
_SYMMETRIC = (-127, 127)  # onnxruntime does not use -128 for symmetric weights


@dataclass(frozen=True)
class Grid:
    """The affine grid of an activation: r = S (q - Z), q in [least, greatest].

    >>> Grid(scale=0.1, zero_point=0, least=0, greatest=10).rounded(torch.tensor([-0.2, 0.26, 1.3]))
    tensor([0.0000, 0.3000, 1.0000])
    """

    scale: float
    zero_point: int
    least: int
    greatest: int

    def rounded(self, values: Tensor) -> Tensor:
        """Return `values` rounded to the grid. The gradient passes only where they are in range."""
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, self.least, self.greatest)


def with_fake_quantization(
    network: DetectionModel, model: onnx.ModelProto, int8: onnx.ModelProto, setting: Setting
) -> DetectionModel:
    """Return a copy of `network` that rounds where `int8` rounds.

    Args:
        network: the detector, its batch normalizations not folded.
        model: the float graph that was exported from it.
        int8: the same graph, quantized in QDQ format.
        setting: the types and granularity of `int8`.

    Raises:
        UserError: `model` was not exported from these weights.
    """
    grids = _activation_grids(int8)
    weighted = _integer_weights(int8)
    rounding = deepcopy(network)
    layers = _layers(rounding)
    absorbed = _absorbed_activations(model)
    for node, weight in _convolutions(model):
        output = next((name for name in (node.output[0], absorbed.get(node.output[0])) if name in weighted), None)
        if output is None:
            continue
        weighted.remove(output)
        convolution, norm = layers.pop(_index_of(weight, layers))
        if before := grids.get(node.input[0]):
            convolution.register_forward_pre_hook(_InputRounding(before))
        if after := grids.get(output):
            (norm or convolution).register_forward_hook(_OutputRounding(after))
        parametrize.register_parametrization(convolution, "weight", _WeightRounding(setting, norm))
    assert not weighted, f"no layer was found for the quantized convolutions {sorted(weighted)}"
    return rounding


def without_fake_quantization(trained: DetectionModel, network: DetectionModel) -> DetectionModel:
    """Return a copy of `network` (without rounding) that has the weights of `trained` (with rounding)."""
    plain = deepcopy(network)
    state = {key.replace("parametrizations.weight.original", "weight"): v for key, v in trained.state_dict().items()}
    plain.load_state_dict(state)
    return plain


class _InputRounding:
    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def __call__(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (self.grid.rounded(inputs[0]),)


class _OutputRounding:
    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def __call__(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return self.grid.rounded(output)


class _WeightRounding(nn.Module):
    """Rounds a convolution's weights on the grid of the weights with batch normalization folded in."""

    def __init__(self, setting: Setting, norm: nn.BatchNorm2d | None) -> None:
        super().__init__()
        self.setting = setting
        self.norm = (norm,)  # in a tuple: a submodule's state would be in the state dict, and in the average, twice

    def forward(self, weight: Tensor) -> Tensor:
        factor = _folding_factor(weight, self.norm[0])
        return self._rounded(weight * factor) / factor

    def _rounded(self, folded: Tensor) -> Tensor:
        kept = (1, 2, 3) if self.setting.per_channel else (0, 1, 2, 3)
        low, high = folded.detach().amin(kept).clamp(max=0), folded.detach().amax(kept).clamp(min=0)
        least, greatest = _WEIGHT_GRIDS[self.setting.weight_type]
        if self.setting.symmetric_weights:
            high = torch.maximum(-low, high)
            low = -high
            if self.setting.weight_type == "int8":
                least, greatest = _SYMMETRIC
        scale = ((high - low) / (greatest - least)).clamp(min=torch.finfo(torch.float32).tiny)
        zero_point = (least - low / scale).round().clamp(least, greatest).int()
        if self.setting.per_channel:
            return torch.fake_quantize_per_channel_affine(folded, scale, zero_point, 0, least, greatest)
        return torch.fake_quantize_per_tensor_affine(folded, scale, zero_point, least, greatest)


def _folding_factor(weight: Tensor, norm: nn.BatchNorm2d | None) -> Tensor:
    """Return the factor that folding applies to each output channel, (C, 1, 1, 1); 1 where that factor is zero."""
    if norm is None:
        return weight.new_ones(len(weight), 1, 1, 1)
    assert norm.running_var is not None
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    return torch.where(factor == 0, 1.0, factor)[:, None, None, None]


def _activation_grids(int8: onnx.ModelProto) -> dict[str, Grid]:
    """Return the grid of every activation that a QuantizeLinear or a DequantizeLinear reads, by name."""
    constants = {tensor.name: tensor for tensor in int8.graph.initializer}
    grids = {}
    for node in int8.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in constants:
            scale, zero_point = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            grids[node.input[0]] = Grid(float(scale), int(zero_point), *_GRIDS[zero_point.dtype])
    return grids


def _integer_weights(int8: onnx.ModelProto) -> set[str]:
    """Return the names of the outputs of the convolutions with integer weights."""
    constants = {tensor.name for tensor in int8.graph.initializer}
    dequantized = {
        node.output[0] for node in int8.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    return {node.output[0] for node in int8.graph.node if node.op_type == "Conv" and node.input[1] in dequantized}


def _absorbed_activations(model: onnx.ModelProto) -> dict[str, str]:
    """Return the output of each ReLU, by its input.

    onnxruntime's quantizer removes a ReLU if the grid after it begins at zero, because that grid clips like the ReLU.
    The convolution before it then writes the ReLU's output.
    """
    return {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}


def _convolutions(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, NDArray[np.float32]]]:
    """Return the convolutions of a float graph with their weights."""
    own = onnx.ModelProto()
    own.CopyFrom(model)
    own_constants(own)
    constants = {tensor.name: tensor for tensor in own.graph.initializer}
    return [
        (node, numpy_helper.to_array(constants[node.input[1]])) for node in own.graph.node if node.op_type == "Conv"
    ]


def _layers(network: DetectionModel) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Return the convolutions of a network, each with the batch normalization that export folds into it."""
    norms = {
        id(module.conv): module.bn
        for module in network.modules()
        if isinstance(module, Conv) and isinstance(getattr(module, "bn", None), nn.BatchNorm2d)
    }
    return [(module, norms.get(id(module))) for module in network.modules() if isinstance(module, nn.Conv2d)]


def _index_of(weight: NDArray[np.float32], layers: list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]) -> int:
    """Return the index of the layer with these folded weights. Names and order differ between exporters."""
    searched = torch.from_numpy(weight.copy())
    for index, (convolution, norm) in enumerate(layers):
        if convolution.weight.shape == searched.shape:
            folded = convolution.weight.detach() * _folding_factor(convolution.weight, norm)
            if torch.allclose(folded, searched, rtol=1e-3, atol=1e-6):
                return index
    raise UserError(
        f"quantization-aware training: no layer of the checkpoint has the weights {tuple(weight.shape)} of a "
        "convolution in the ONNX file: export the file again with equalize=false"
    )
