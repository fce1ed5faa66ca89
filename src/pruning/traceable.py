"""Parts that torch-pruning cannot trace, or not in reasonable time, have a stand-in while channels are removed.

Attention reshapes its channels into heads, and tracing YOLO12's blocks takes gigabytes. Its stand-in is a normalization
whose channels are kept, so all channels that enter or leave the block are kept, too. The head decodes its predictions,
and an end-to-end head gets detached features for its second branches. Its stand-in computes the predictions of all
branches from the features themselves.
"""

from __future__ import annotations

from torch import Tensor, nn
from ultralytics.nn.modules.block import C2PSA, PSA, ABlock, PSABlock
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel

from src.pruning.c2f import SplitC2f

ATTENTION = (C2PSA, PSA, PSABlock, ABlock)
"""Blocks whose own channels are kept."""


class _AnyChannels(nn.BatchNorm2d):
    """Stands in for a block with as many input as output channels."""


class _Branches(nn.Module):
    """Stands in for a head: returns the predictions of its branches before they are decoded."""

    def __init__(self, head: Detect) -> None:
        super().__init__()
        self.head = head
        self.i, self.f = head.i, head.f  # ultralytics' forward pass reads these

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        kinds = [self.head.one2many]
        if getattr(self.head, "one2one_cv2", None) is not None:
            kinds.append(self.head.one2one)
        predictions = [self.head.forward_head(features, **kind) for kind in kinds]
        return [prediction[name] for prediction in predictions for name in ("boxes", "scores")]


def hide(network: DetectionModel) -> dict[str, nn.Module]:
    """Put stand-ins in place of the head and of attention blocks, and return what they replace, by name."""
    hidden = {name: module for name, module in network.named_modules() if isinstance(module, (PSABlock, ABlock))}
    for name, block in hidden.items():
        width = [module for module in block.modules() if isinstance(module, nn.Conv2d)][-1].out_channels
        network.set_submodule(name, _AnyChannels(width).eval())
    head = f"model.{len(network.model) - 1}"
    hidden[head] = network.get_submodule(head)
    network.set_submodule(head, _Branches(hidden[head]))
    return hidden


def show(network: DetectionModel, hidden: dict[str, nn.Module]) -> None:
    """Put the parts back in place of their stand-ins."""
    for name, module in hidden.items():
        network.set_submodule(name, module)


def kept_layers(network: DetectionModel) -> list[nn.Module]:
    """Return the parts that keep their channels: attention, the head's output convolutions and its DFL layer."""
    kept: list[nn.Module] = [module for module in network.modules() if isinstance(module, (*ATTENTION, _AnyChannels))]
    for block in network.modules():
        # Attention keeps the channels of one half, and both halves have the same number.
        if isinstance(block, SplitC2f) and any(isinstance(part, _AnyChannels) for part in block.m.modules()):
            kept += [block.first, block.second]
    head = next(module for module in network.modules() if isinstance(module, Detect))
    branches = [head.cv2, head.cv3, getattr(head, "one2one_cv2", None), getattr(head, "one2one_cv3", None)]
    kept += [branch[-1] for found in branches if found is not None for branch in found]
    return [*kept, head.dfl]
