"""Removes whole channels, least important first, with torch-pruning.

Fang et al., "DepGraph: Towards Any Structural Pruning" (arXiv 2301.12900): channels that depend on each other, through
concatenations and residual sums, form groups. A group is ranked and removed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy

import torch
import torch_pruning
from torch import nn
from torch_pruning.pruner.importance import Importance
from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import UserError
from src.foundation.image_size import ImageSize, height_width
from src.pruning.c2f import join_blocks, split_blocks
from src.pruning.traceable import hide, kept_layers, show


def prune_channels(
    network: DetectionModel,
    *,
    ratio: float,
    round_to: int,
    imgsz: ImageSize,
    importance: Importance,
    original: DetectionModel | None = None,
    spared: Collection[int] = (),
    fill_gradients: Callable[[DetectionModel], None] = lambda network: None,
) -> DetectionModel:
    """Return a copy of `network` with fewer channels in every layer that can lose some.

    The head's output convolutions, its DFL layer and attention blocks keep their channels.

    Args:
        ratio: share of the channels of `original` that is removed in the end, in [0, 1); 0 returns an unchanged copy.
        round_to: the number of remaining channels is rounded to the nearest multiple of this, and is at least this;
            narrower layers keep their channels. Integer kernels work on vectors of 8 or 16, so removing a part of a
            vector saves no time.
        imgsz: the size of the image that the network is traced with, px.
        importance: ranks the channels.
        original: `network` before earlier rounds of pruning; None: `network` itself.
        spared: layers, by ultralytics' index, that keep their channels.
        fill_gradients: leaves the gradients of the loss in the parameters, for an importance that reads them.

    Raises:
        UserError: torch-pruning cannot trace this architecture.
    """
    pruned = deepcopy(network).float().cpu().eval()
    if ratio == 0:
        return pruned
    for parameter in pruned.parameters():
        parameter.requires_grad = True  # torch-pruning traces the network through its gradients
    before = deepcopy(original or network)
    split_blocks(before)
    blocks = split_blocks(pruned)
    fill_gradients(pruned)
    hide(before)
    hidden = hide(pruned)
    try:
        torch_pruning.pruner.BasePruner(
            pruned,
            torch.zeros(1, 3, *height_width(imgsz)),
            importance=importance,
            pruning_ratio=0.0,
            pruning_ratio_dict=_ratios(pruned, before, ratio, round_to, spared),
            ignored_layers=kept_layers(pruned),
            round_to=round_to,
        ).step()
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"prune: torch-pruning cannot trace this architecture ({type(error).__name__}: {error}): "
            "choose a student of YOLOv8, YOLO11, YOLO12 or YOLO26, or prune.ratio=0"
        ) from error
    show(pruned, hidden)
    join_blocks(pruned, blocks)
    pruned.zero_grad(set_to_none=True)
    return pruned


def ratios_by_round(ratio: float, rounds: int) -> list[float]:
    """Return the share of the original channels that is removed after each round of iterative pruning.

    Every round removes the same share of the remaining channels; the last one leaves 1 - ratio.

    >>> ratios_by_round(0.75, rounds=2)
    [0.5, 0.75]
    """
    return [1 - (1 - ratio) ** (done / rounds) for done in range(1, rounds + 1)]


def prunable_layers(network: DetectionModel) -> list[int]:
    """Return the index of each of ultralytics' layers from which channels can be removed."""
    kept = {id(part) for layer in kept_layers(network) for part in layer.modules()}
    return [
        index
        for index, layer in enumerate(network.model)
        if any(isinstance(part, nn.Conv2d) and id(part) not in kept for part in layer.modules())
    ]


def _ratios(
    network: nn.Module, original: nn.Module, ratio: float, round_to: int, spared: Collection[int]
) -> dict[nn.Module, float]:
    """Return, per convolution, the ratio that leaves a multiple of `round_to`.

    torch-pruning itself rounds down: it would remove half of 32 channels for a ratio of 30%.
    """
    ratios: dict[nn.Module, float] = {}
    for (name, module), (_, before) in zip(_convolutions(network), _convolutions(original), strict=True):
        if int(name.split(".")[1]) in spared:  # such as model.4.second.conv
            continue
        wanted = max(round_to, round(before.out_channels * (1 - ratio) / round_to) * round_to)
        left = min(module.out_channels, wanted)
        # Half a channel of slack: torch-pruning truncates the product to an integer, and 23.999 would become 23.
        ratios[module] = max(0.0, 1 - (left + 0.5) / module.out_channels)
    return ratios


def _convolutions(network: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
