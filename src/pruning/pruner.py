"""One way of pruning with all its settings, applied to a network as often as need be."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch_pruning.pruner.importance import Importance
from ultralytics.nn.tasks import DetectionModel

from src.pruning.bn_scale import bn_scale
from src.pruning.channels import prune_channels
from src.pruning.magnitude import magnitude
from src.pruning.taylor import taylor
from src.pruning.unstructured import zero_weights

IMPORTANCES: dict[str, Callable[[], Importance]] = {"magnitude": magnitude, "bn_scale": bn_scale, "taylor": taylor}


@dataclass(frozen=True)
class Pruner:
    """How to prune.

    Attributes:
        method: structured (channels), or single weights: unstructured_global or unstructured_per_layer.
        importance: which channels go first: magnitude, bn_scale or taylor.
        round_to: channels stay a multiple of this.
        imgsz: side of the square image that networks are traced with, px.
        fill_gradients: leaves the gradients of the loss on training images in a network's parameters; taylor asks it.
    """

    method: str
    importance: str
    round_to: int
    imgsz: int
    fill_gradients: Callable[[DetectionModel], None]

    def pruned(
        self, network: DetectionModel, original: DetectionModel, ratio: float, spared: Collection[int] = ()
    ) -> DetectionModel:
        """Return a copy of `network` that lacks a share of the channels, or weights, of `original`.

        Args:
            network: `original`, or what earlier rounds left of it.
            original: before the first round.
            ratio: the share that is gone afterwards, in [0, 1).
            spared: layers that keep their channels.
        """
        if self.method != "structured":
            return zero_weights(network, ratio=ratio, over_all_layers=self.method == "unstructured_global")
        return prune_channels(
            network,
            ratio=ratio,
            round_to=self.round_to,
            imgsz=self.imgsz,
            importance=IMPORTANCES[self.importance](),
            original=original,
            spared=spared,
            fill_gradients=self.fill_gradients if self.importance == "taylor" else lambda network: None,
        )
