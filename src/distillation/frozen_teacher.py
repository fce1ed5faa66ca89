"""The teacher: a frozen detector that says what it sees in the student's own batch."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Protocol

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.detector.dataset import expect_classes
from src.distillation.predictions import Predictions, bins, feature_channels

AT_A_TIME = 8
"""Images. The maps of more do not stay in the allocator's pool, and their pages are asked of the system each time."""


class Teaching(Protocol):
    """Whatever says what a student should predict.

    Attributes:
        channels: how many channels its head reads at each level.
        bins: of its box distributions.
    """

    channels: tuple[int, ...]
    bins: int

    def to(self, device: torch.device) -> None:
        """Move to a device."""

    def __call__(self, images: Tensor) -> Predictions:
        """Return what it says of images (N, 3, H, W) in [0, 1]."""


class Teacher:
    """A frozen detector in eval mode.

    It computes on a copy whose batch normalizations are folded into the convolutions, channels last, and in bfloat16
    where the processor has it: 0.34 of the time that float takes on such a CPU (yolov8s, 320 px, 4 threads), for
    probabilities that differ by 0.0006 in the mean where something is. What it says is rounded to half precision, so
    that an answer kept in the cache at half the space is the answer itself.

    Raises:
        UserError: its classes are not the student's.
    """

    def __init__(self, network: DetectionModel, class_names: Sequence[str]) -> None:
        expect_to_know(network, class_names)
        self.channels = feature_channels(network)
        self.bins = bins(network)
        frozen = deepcopy(network).eval().requires_grad_(False)
        if getattr(network.model[-1], "one2one_cv2", None) is None:  # folding would drop a branch of end-to-end heads
            frozen = frozen.fuse(verbose=False)
        self._frozen = frozen
        self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> None:
        """Move to a device, in the precision that is natural there."""
        self.network = deepcopy(self._frozen).to(device, precision(device), memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Predictions:
        """Return what it says of images (N, 3, H, W) in [0, 1]."""
        images = images.to(precision(images.device), memory_format=torch.channels_last)
        with torch.inference_mode():
            # In eval mode ultralytics returns decoded boxes first and the raw predictions of the head second.
            said = [Predictions.of(self.network(some)[1]) for some in images.split(AT_A_TIME)]
        return Predictions.joined(said).rounded()


def expect_to_know(teacher: DetectionModel, class_names: Sequence[str]) -> None:
    """Check that a teacher knows the student's classes, in the same order.

    Raises:
        UserError: it knows others.
    """
    advice = "train the teacher on this dataset (`dvc repro train-teacher`)"
    expect_classes(teacher, class_names, who="the teacher", advice=advice)


def precision(device: torch.device) -> torch.dtype:
    """Return what a teacher computes in: bfloat16 where the processor has instructions for it, else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if native else torch.float32
