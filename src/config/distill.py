"""Settings of distill-student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.config.architecture import Architecture
from src.config.distillation import SoftTargets
from src.config.teaching import Teaching
from src.config.training import Training
from src.foundation.constraints import OneOf


@dataclass(kw_only=True)
class Distill(SoftTargets, Training):
    """A training with the distillation loss.

    Attributes:
        student: its architecture and initial weights.
        teaching: who teaches it.
        withheld_classes: names of classes whose labels the student and its control do not get; its teachers do.
        control: when the same student is also trained on the labels alone: in the pipeline, always or never.
    """

    student: Architecture
    teaching: Teaching
    withheld_classes: list[str]
    control: Annotated[str, OneOf("pipeline", "always", "never")]
