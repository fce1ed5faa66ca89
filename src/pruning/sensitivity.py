"""Sensitivity of each layer to the removal of channels: each layer is pruned alone, without fine-tuning.

Li et al., "Pruning Filters for Efficient ConvNets" (arXiv 1608.08710, section 3.2) use it to choose the layers to skip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ultralytics.nn.tasks import DetectionModel

from src.pruning.channels import prunable_layers


@dataclass(frozen=True)
class LayerDrop:
    """The loss of accuracy from pruning one layer alone.

    Attributes:
        layer: its index in ultralytics' architecture.
        kind: type of the block, such as C2f.
        map50_95: mAP50-95 on val of the network with this layer pruned.
        drop: the loss of mAP50-95 against the whole network.
    """

    layer: int
    kind: str
    map50_95: float
    drop: float


def layer_drops(
    network: DetectionModel,
    prune_all_but: Callable[[set[int]], DetectionModel],
    score: Callable[[DetectionModel], float],
    on_layer: Callable[[], object] = lambda: None,
) -> list[LayerDrop]:
    """Return the loss of accuracy of each layer, in the order of the network.

    Args:
        network: the network before pruning.
        prune_all_but: returns the network pruned in all layers but the given ones.
        score: returns a network's mAP50-95 on val.
        on_layer: called after each layer.
    """
    layers = prunable_layers(network)
    whole = score(network)
    drops = []
    for layer in layers:
        found = score(prune_all_but(set(layers) - {layer}))
        drops.append(LayerDrop(layer, type(network.model[layer]).__name__, found, round(whole - found, 6)))
        on_layer()
    return drops


def most_sensitive(drops: list[LayerDrop], count: int) -> set[int]:
    """Return the indices of the `count` layers with the largest drop."""
    return {drop.layer for drop in sorted(drops, key=lambda drop: (-drop.drop, drop.layer))[:count]}
