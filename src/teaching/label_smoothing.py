"""Label smoothing: a control, soft targets that know nothing of the image.

Szegedy et al., "Rethinking the Inception Architecture" (arXiv 1512.00567, section 7): q' = (1 - eps) * q + eps / C. In
a dense detector only the places that were assigned an object are smoothed, and each shares out the mass it has: a floor
under the scores of the background, which is nearly everywhere, would teach false alarms.
"""

from __future__ import annotations

from torch import Tensor, nn

from src.detector.training import InTraining, MakeCriterion
from src.distillation.distillation_loss import HardLoss
from src.foundation.errors import UserError


def smoothed(targets: Tensor, smoothing: float) -> Tensor:
    """Return class targets (..., C) of which a share is spread over all classes; their sum stays."""
    return (1 - smoothing) * targets + smoothing * targets.mean(dim=-1, keepdim=True)


class SmoothedCrossEntropy(nn.Module):
    """Binary cross entropy against smoothed targets, in the place of ultralytics' own."""

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
        UserError: the head is end-to-end, whose loss smooths nothing.
    """

    def __init__(self, training: InTraining, smoothing: float) -> None:
        super().__init__(training)
        if not hasattr(self.hard, "bce"):
            raise UserError("teaching: label smoothing needs a dense head: choose YOLOv8 or YOLO11, or teaching=hard")
        self.hard.bce = SmoothedCrossEntropy(self.hard.bce, smoothing)


def label_smoothing(smoothing: float) -> MakeCriterion:
    """Return what builds the smoothed loss; `smoothing` is eps, in [0, 1]."""
    return lambda training: SmoothedLoss(training, smoothing)
