"""The losses that compare a student with its teacher: one file and one entry in this table each.

A file is named like its loss and imported when the loss is used: importing this table costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

SCORES, BOXES, FEATURES = "scores", "boxes", "features"
"""What of the predictions a loss compares: class logits, box logits, or the features that the head reads."""


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        module: the file in this folder.
        compares: `SCORES`, `BOXES` or `FEATURES`.
        comparison: the name of the function in that file that compares student and teacher.
        projector: the name of the function that makes a module between the features of the two; None: there is none.
        softens: whether the temperature T softens its targets, so that T^2 scales it.
    """

    module: str
    compares: str
    comparison: str
    projector: str | None = None
    softens: bool = False

    @cached_property
    def compare(self) -> Callable[..., Any]:
        """The comparison."""
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
        Loss("localization", BOXES, "localization_divergence", softens=True),
        Loss("feature", FEATURES, "feature_difference", projector="feature_projector"),
        Loss("channel_wise", FEATURES, "channel_wise_divergence", projector="channel_wise_projector"),
    )
}
