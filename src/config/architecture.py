"""Detection networks (groups `teacher` and `student`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import OneOf

FROM_TEACHER = "teacher"
"""The value of `weights` with which a student starts from a part of its teacher's weights."""


@dataclass(kw_only=True)
class Architecture:
    """A network and its initial weights.

    Attributes:
        architecture: an ultralytics model YAML, such as yolov8s.yaml, or the path of one.
        activation: in place of the architecture's own; None: its own.
        weights: the path of a .pt file to start from; for students also `FROM_TEACHER`; None: from scratch.
        trust_weights: unpickle that file whatever it holds, which may run code.
    """

    architecture: str
    activation: Annotated[str | None, OneOf("silu", "relu", "hardswish")]
    weights: str | None
    trust_weights: bool
