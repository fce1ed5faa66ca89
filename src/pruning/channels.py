"""Removes whole channels, least important first, by torch-pruning.

Fang et al., "DepGraph: Towards Any Structural Pruning" (arXiv 2301.12900): channels that depend on each other, through
concatenations and residual sums, form groups, are judged together by the norm of all their weights, and go together.
"""

from __future__ import annotations

from copy import deepcopy

import torch
import torch_pruning
from torch import nn
from ultralytics.nn.modules.block import C2PSA
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel

from src.errors import UserError
from src.pruning.c2f import join_blocks, split_blocks


def prune_channels(network: DetectionModel, *, ratio: float, round_to: int, imgsz: int) -> DetectionModel:
    """Return a copy of `network` with fewer channels in every layer that can lose some.

    What the head puts out, its DFL layer and attention blocks keep their channels.

    Args:
        ratio: share of the channels to remove, in [0, 1); 0 returns an unchanged copy.
        round_to: what is left is rounded to the nearest multiple of this (and is at least this): integer kernels work
            on vectors of 8 or 16, and a channel that leaves one half empty saves no time.
        imgsz: side of the square image that the network is traced with, px.

    Raises:
        UserError: torch-pruning cannot follow this architecture.
    """
    pruned = deepcopy(network).float().cpu().eval()
    if ratio == 0:
        return pruned
    for parameter in pruned.parameters():
        parameter.requires_grad = True  # torch-pruning traces the network through its gradients
    blocks = split_blocks(pruned)
    try:
        torch_pruning.pruner.BasePruner(
            pruned,
            torch.zeros(1, 3, imgsz, imgsz),
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=0.0,
            pruning_ratio_dict=_ratios(pruned, ratio, round_to),
            ignored_layers=_kept_layers(pruned),
            round_to=round_to,
            # The head's raw predictions, which follow the decoded boxes: decoding need not be traced.
            forward_fn=lambda model, image: [model(image)[1][name] for name in ("boxes", "scores")],
        ).step()
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"prune: torch-pruning cannot follow this architecture ({type(error).__name__}: {error}): "
            "choose a YOLOv8 student or prune.ratio=0"
        ) from error
    join_blocks(pruned, blocks)
    return pruned


def _ratios(network: nn.Module, ratio: float, round_to: int) -> dict[nn.Module, float]:
    """Return, per convolution, the ratio that leaves a multiple of `round_to`.

    Left to itself torch-pruning rounds down, and takes half of 32 channels where 30% were asked for.
    """
    ratios: dict[nn.Module, float] = {}
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            channels = module.out_channels
            left = min(channels, max(round_to, round(channels * (1 - ratio) / round_to) * round_to))
            # Half a channel of slack: torch-pruning cuts the product to an integer, and 23.999 would become 23.
            ratios[module] = max(0.0, 1 - (left + 0.5) / channels)
    return ratios


def _kept_layers(network: DetectionModel) -> list[nn.Module]:
    kept: list[nn.Module] = [module for module in network.modules() if isinstance(module, C2PSA)]
    head = network.model[-1]
    assert isinstance(head, Detect)
    kept += [branch[-1] for branches in (head.cv2, head.cv3) for branch in branches]
    return [*kept, head.dfl]
