"""The teacher: a frozen detector that predicts on the student's own batch."""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.distillation.predictions import Head, Predictions

IMAGES_PER_PASS = 8
"""Number of images per forward pass.

The feature maps of larger batches do not stay in the allocator's pool: the system would provide their memory pages
again each time.
"""


class Teacher(Protocol):
    """The interface of a teacher, which predicts the student's targets.

    Attributes:
        head: the shape of its head.
    """

    head: Head

    def to(self, device: torch.device) -> None:
        """Move to a device."""

    def __call__(self, images: Tensor) -> Predictions:
        """Return the predictions for images (N, 3, H, W) in [0, 1]."""


class FrozenTeacher:
    """A detector in eval mode that does not change.

    It computes on a copy with batch normalizations folded into the convolutions, in the memory format channels_last.
    Its predictions are rounded to half precision, so that the cache stores them in half the space without a change.

    Args:
        network: the detector; it does not change.
        dtype: in which the copy computes. bfloat16 is faster on processors that have it (`dtype_for`).
    """

    def __init__(self, network: DetectionModel, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.head = Head.of(network)
        frozen = deepcopy(network).eval().requires_grad_(False)
        if getattr(network.model[-1], "one2one_cv2", None) is None:  # folding would drop a branch of end-to-end heads
            frozen = frozen.fuse(verbose=False)
        self._frozen = frozen
        self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        self.network = deepcopy(self._frozen).to(device, self.dtype, memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Predictions:
        """Return the predictions for images (N, 3, H, W) in [0, 1]."""
        images = images.to(self.dtype, memory_format=torch.channels_last)
        with torch.inference_mode():
            # In eval mode ultralytics returns decoded boxes first and the raw predictions of the head second.
            found = [Predictions.of(self.network(some)[1]) for some in images.split(IMAGES_PER_PASS)]
        return Predictions.joined(found).rounded()
