"""Label smoothing: a control whose soft targets do not depend on the image.

Szegedy et al., "Rethinking the Inception Architecture" (arXiv 1512.00567, section 7): q' = (1 - eps) * q + eps / C. In
a dense detector only the locations that were assigned an object are smoothed, and each distributes its own sum of
targets. Most locations are background; a positive target there would teach false alarms.
"""

from __future__ import annotations

from torch import Tensor, nn

from src.detector.criterion import MakeCriterion, TrainingContext
from src.distillation.distillation_loss import HardLoss
from src.foundation.errors import SettingError


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Return class targets (..., C) with the share `smoothing` of each spread over all classes. Their sum does not
    change.

    >>> import torch
    >>> smoothed(torch.tensor([0.8, 0.0]), 0.1)
    tensor([0.7600, 0.0400])
    """
    return (1 - smoothing) * targets + smoothing * targets.mean(dim=-1, keepdim=True)


class SmoothedCrossEntropy(nn.Module):
    """Binary cross entropy against smoothed targets, instead of ultralytics' own."""

    def __init__(self, inner: nn.Module, smoothing: float) -> None:
        super().__init__()
        self.inner = inner
        self.smoothing = smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the element-wise loss of logits and targets, both (..., C)."""
        return self.inner(logits, smoothed(targets, self.smoothing))


class SmoothedLoss(HardLoss):
    """ultralytics' own detection loss with smoothed class targets.

    Raises:
        SettingError: the head is end-to-end; its loss has no class targets to smooth.
    """

    def __init__(self, training: TrainingContext, smoothing: float) -> None:
        super().__init__(training)
        if not hasattr(self.hard, "bce"):
            raise SettingError(
                "teaching", "smooths labels only for dense heads: choose YOLOv8, YOLO11 or teaching=hard"
            )
        self.hard.bce = SmoothedCrossEntropy(self.hard.bce, smoothing)


def label_smoothing(smoothing: float) -> MakeCriterion:
    """Return a function that makes the smoothed loss of a network; `smoothing` is eps, in [0, 1]."""
    return lambda training: SmoothedLoss(training, smoothing)
