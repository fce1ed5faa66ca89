"""The losses that compare a student with its teacher: one file and one entry in the table `LOSSES` each.

The file of a loss has the name of the loss. It is imported when the loss is used, so importing the table is cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

SCORES, DISTRIBUTIONS, BOXES, FEATURES = "scores", "distributions", "boxes", "features"
"""The part of the predictions that a loss compares: class logits, the logits of boxes bin by bin, the boxes themselves,
of heads with any numbers of bins, or the features that the head reads."""


@dataclass(frozen=True)
class Loss:
    """An entry in the table of losses.

    Attributes:
        module: name of the file in this folder.
        compares: `SCORES`, `DISTRIBUTIONS`, `BOXES` or `FEATURES`.
        comparison: name of the function in that file that compares student and teacher.
        projector: name of the function that makes a module between the features of the two; None: there is none.
        softens: whether the temperature T softens its targets, so that T^2 scales it.
    """

    module: str
    compares: str
    comparison: str
    projector: str | None = None
    softens: bool = False

    @cached_property
    def compare(self) -> Callable[..., Any]:
        """The function that compares student and teacher."""
        return self._of_module(self.comparison)

    def project(self, student_channels: int, teacher_channels: int) -> nn.Module:
        """Return a module that gives the student's features the teacher's number of channels."""
        assert self.projector is not None, f"{self.module} compares no features"
        module: nn.Module = self._of_module(self.projector)(student_channels, teacher_channels)
        return module

    def _of_module(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(import_module(f"{__name__}.{self.module}"), name)
        return function


LOSSES = {
    loss.module: loss
    for loss in (
        Loss("response", SCORES, "response_divergence", softens=True),
        Loss("localization", DISTRIBUTIONS, "localization_divergence", softens=True),
        Loss("overlap", BOXES, "overlap_difference"),
        Loss("feature", FEATURES, "feature_difference", projector="feature_projector"),
        Loss("channel_wise", FEATURES, "channel_wise_divergence", projector="channel_wise_projector"),
        Loss("masked", FEATURES, "masked_difference", projector="masked_projector"),
    )
}
