"""Sets single weights of convolutions to zero, smallest magnitude first; shapes do not change.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (arXiv 1506.02626), by torch's own
`torch.nn.utils.prune`. A control: files compress better, but onnxruntime multiplies by zeros like by any other number,
so nothing gets faster on a CPU.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from ultralytics.nn.tasks import DetectionModel


def zero_weights(network: DetectionModel, *, ratio: float, over_all_layers: bool) -> DetectionModel:
    """Return a copy of `network` with a share of its convolutions' weights at zero; training keeps them at zero.

    The fixed weights of the head's DFL do not change.

    Args:
        ratio: share of the weights, in [0, 1); weights that are already zero count.
        over_all_layers: rank the weights of all layers together (global), else each layer's weights separately.
    """
    pruned = deepcopy(network).float().cpu()
    layers = [module for name, module in pruned.named_modules() if isinstance(module, nn.Conv2d) and "dfl" not in name]
    if over_all_layers:
        prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=ratio)
    else:
        for layer in layers:
            prune.l1_unstructured(layer, "weight", amount=ratio)
    for layer in layers:
        prune.remove(layer, "weight")
        _hold_zeros(layer.weight)
    return pruned


def share_of_zeros(network: nn.Module) -> float:
    """Return the share of the convolutions' weights that is zero, in [0, 1]."""
    weights = torch.cat([module.weight.flatten() for module in network.modules() if isinstance(module, nn.Conv2d)])
    return float((weights == 0).float().mean())


def _hold_zeros(weight: Tensor) -> None:
    """Set the gradient of zero weights to zero. Without gradient and momentum they stay zero, as decay keeps zeros."""
    weight.requires_grad_(True)
    kept = (weight != 0).float()
    weight.register_hook(lambda gradient: gradient * kept.to(gradient.device))
