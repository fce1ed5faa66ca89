"""A pruning method with all its settings, to be applied to a network once or several times."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch_pruning.pruner.importance import Importance
from ultralytics.nn.tasks import DetectionModel

from src.foundation.image_size import ImageSize
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
        importance: how channels are ranked: magnitude, bn_scale or taylor.
        round_to: the number of channels stays a multiple of this.
        imgsz: the size of the image that networks are traced with, px.
        fill_gradients: leaves the gradients of the loss on training images in a network's parameters; only taylor needs
            it.
    """

    method: str
    importance: str
    round_to: int
    imgsz: ImageSize
    fill_gradients: Callable[[DetectionModel], None]

    def pruned(
        self, network: DetectionModel, original: DetectionModel, ratio: float, spared: Collection[int] = ()
    ) -> DetectionModel:
        """Return a copy of `network` without a share of the channels, or weights, of `original`.

        Args:
            network: `original`, or the result of earlier rounds.
            original: the network before the first round.
            ratio: the share that is removed afterwards, in [0, 1).
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
