"""Splits C2f blocks, and C2 blocks, for pruning and joins them again afterwards.

Their `cv1` computes 2c channels, which `chunk` splits into two halves. torch-pruning cannot trace that split (it raises
an IndexError). So the convolution is split into two, one per half, while channels are chosen and removed. Both halves
lose the same number of channels, so they are joined to one block again. The pruned network then consists of
ultralytics' own classes and loads without this project.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import C2, C2f
from ultralytics.nn.modules.conv import Conv


class SplitC2f(nn.Module):
    """A C2f whose first convolution is split in two.

    The output of `first` goes directly to the end, the output of `second` also through the bottlenecks.
    """

    def __init__(self, block: C2f | C2) -> None:
        super().__init__()
        self.first = _part(block.cv1, slice(None, block.c))
        self.second = _part(block.cv1, slice(block.c, None))
        self.cv2, self.m = block.cv2, block.m
        self.i, self.f = block.i, block.f  # ultralytics' forward pass reads these

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, C, H, W) -> (N, C', H, W), as the original C2f does."""
        parts = [self.first(x), self.second(x)]
        for bottleneck in self.m:
            parts.append(bottleneck(parts[-1]))
        return self.cv2(torch.cat(parts, dim=1))

    def joined(self, block: C2f | C2) -> C2f | C2:
        """Return `block`, the original, with the channels that are left."""
        block.cv1 = _join(self.first, self.second)
        block.cv2, block.m, block.c = self.cv2, self.m, self.second.conv.out_channels
        return block


class SplitC2(SplitC2f):
    """A C2 whose first convolution is split in two: the bottlenecks work on the output of `first`."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, C, H, W) -> (N, C', H, W), as the original C2 does."""
        return self.cv2(torch.cat([self.m(self.first(x)), self.second(x)], dim=1))


def split_blocks(network: nn.Module) -> dict[str, C2f | C2]:
    """Replace every C2f and C2 of `network` in place, and return the blocks by name, for `join_blocks`."""
    blocks = {name: module for name, module in network.named_modules() if isinstance(module, (C2f, C2))}
    for name, block in blocks.items():
        network.set_submodule(name, SplitC2f(block) if isinstance(block, C2f) else SplitC2(block))
    return blocks


def join_blocks(network: nn.Module, blocks: dict[str, C2f | C2]) -> None:
    """Put the blocks back in place, with the channels that are left."""
    for name, block in blocks.items():
        split = network.get_submodule(name)
        assert isinstance(split, SplitC2f)
        network.set_submodule(name, split.joined(block))


def _part(conv: Conv, channels: slice) -> Conv:
    """Return a convolution (with batch norm and activation) that computes only some output channels of `conv`."""
    part = deepcopy(conv)
    part.conv.weight = nn.Parameter(conv.conv.weight[channels].detach().clone())
    part.conv.out_channels = len(part.conv.weight)
    _set_norm(part.bn, [conv.bn], channels)
    return part


def _join(first: Conv, second: Conv) -> Conv:
    """Return one convolution that computes the channels of both."""
    joined = deepcopy(first)
    joined.conv.weight = nn.Parameter(torch.cat([first.conv.weight, second.conv.weight]).detach().clone())
    joined.conv.out_channels = len(joined.conv.weight)
    _set_norm(joined.bn, [first.bn, second.bn], slice(None))
    return joined


def _set_norm(target: nn.BatchNorm2d, sources: list[nn.BatchNorm2d], channels: slice) -> None:
    """Fill `target` with some channels of the sources, one after the other."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = torch.cat([getattr(source, name) for source in sources])[channels].detach().clone()
        setattr(target, name, nn.Parameter(value) if name in ("weight", "bias") else value)
    target.num_features = len(target.weight)
