"""The teacher: a frozen detector that says what it sees in the student's own batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.errors import UserError


@dataclass(frozen=True)
class SoftTargets:
    """What a teacher says about a batch, at each of the A places of its head.

    Attributes:
        scores: (N, C, A), class logits.
        boxes: (N, 4 * R, A), logits of the edges' distributions over R bins.
    """

    scores: Tensor
    boxes: Tensor

    def importance(self) -> Tensor:
        """Return how sure the teacher is that something is there: (N, A), its best class score, in [0, 1]."""
        return self.scores.sigmoid().amax(dim=1)


class Teacher:
    """A frozen detector in eval mode.

    Raises:
        UserError: its classes are not the student's, or its head makes other predictions than the losses compare.
    """

    def __init__(self, network: DetectionModel, class_names: Sequence[str]) -> None:
        taught = [network.names[index] for index in sorted(network.names)]
        if taught != list(class_names):
            raise UserError(
                f"the teacher knows the classes {', '.join(taught)}; the dataset has {', '.join(class_names)}: "
                "train the teacher on this dataset (`dvc repro train-teacher`)"
            )
        require_dense_head(network, "teacher")
        self.bins = network.model[-1].reg_max
        self._network = network.eval().requires_grad_(False)

    def to(self, device: torch.device) -> Teacher:
        """Move to a device."""
        self._network.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor) -> SoftTargets:
        """Return the soft targets of images (N, 3, H, W) in [0, 1]."""
        # In eval mode ultralytics returns decoded boxes first and the raw predictions of the head second.
        _, predictions = self._network(images)
        return SoftTargets(predictions["scores"], predictions["boxes"])


def require_dense_head(network: DetectionModel, role: str) -> None:
    """Check that the head predicts scores and DFL box distributions at every place, as YOLOv8's and YOLO11's do.

    Raises:
        UserError: it does not.
    """
    head = network.model[-1]
    if getattr(head, "one2one_cv2", None) is not None or getattr(head, "reg_max", 1) < 2:
        raise UserError(
            f"the {role}'s head has no DFL box distributions to distil (YOLO26 and YOLOv10 have none that fit): "
            "choose a YOLOv8 or YOLO11 architecture, or alpha=0"
        )
