"""A detector's raw predictions for a batch, in the form that all losses compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

ONE_TO_MANY = "one2many"


@dataclass(frozen=True)
class Head:
    """The shape of a detector's head.

    Attributes:
        strides: px of the image per location, at each level, finest first.
        bins: R, the number of bins of an edge's distribution; 1 for heads that predict distances (YOLO26).
        channels: number of channels that it reads at each level.
    """

    strides: tuple[int, ...]
    bins: int
    channels: tuple[int, ...]

    @classmethod
    def of(cls, network: DetectionModel) -> Head:
        """Return the shape of a network's head."""
        head = network.model[-1]
        channels = tuple(branch[0].conv.in_channels for branch in head.cv2)
        return cls(tuple(int(stride) for stride in head.stride), int(head.reg_max), channels)


@dataclass(frozen=True)
class Branch:
    """One branch of a head's output, at each of the A locations where it predicts.

    Attributes:
        scores: (N, C, A), class logits.
        boxes: (N, 4 * R, A), logits of the edges' distributions over R bins; with R = 1 the distances themselves.
    """

    scores: Tensor
    boxes: Tensor

    def importance(self) -> Tensor:
        """Return the best class score at each location, (N, A), in [0, 1]: the confidence that an object is there."""
        return self.scores.sigmoid().amax(dim=1)


@dataclass(frozen=True)
class Predictions:
    """The predictions that the losses compare.

    Attributes:
        branches: by ultralytics' names. A dense head has only one2many; an end-to-end head (YOLOv10, YOLO26) also has
            one2one, which predicts without duplicates.
        features: (N, C_l, H_l, W_l), the input of the head at each level, finest first.
    """

    branches: Mapping[str, Branch]
    features: tuple[Tensor, ...]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Predictions:
        """Convert ultralytics' raw predictions: `scores`, `boxes` and `feats`, or a mapping of these by branch."""
        by_branch = raw if ONE_TO_MANY in raw else {ONE_TO_MANY: raw}
        branches = {name: Branch(found["scores"], found["boxes"]) for name, found in by_branch.items()}
        return cls(branches, tuple(by_branch[ONE_TO_MANY]["feats"]))

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Concatenate the predictions for the parts of a batch."""
        branches = {
            name: Branch(
                torch.cat([part.branches[name].scores for part in parts]),
                torch.cat([part.branches[name].boxes for part in parts]),
            )
            for name in parts[0].branches
        }
        levels = zip(*(part.features for part in parts), strict=True)
        return cls(branches, tuple(torch.cat(level) for level in levels))

    def map(self, change: Callable[[Tensor], Tensor]) -> Predictions:
        """Return the predictions with `change` applied to every tensor."""
        branches = {name: Branch(change(one.scores), change(one.boxes)) for name, one in self.branches.items()}
        return Predictions(branches, tuple(change(level) for level in self.features))

    def rounded(self) -> Predictions:
        """Return the predictions rounded to half precision, as float32: the cache then stores them without loss."""
        return self.map(lambda tensor: tensor.half().float().contiguous())
