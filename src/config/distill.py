"""Settings of distill-student."""

from __future__ import annotations

from dataclasses import dataclass

from src.config.architecture import Architecture
from src.config.distillation import SoftTargets
from src.config.teaching import Teaching
from src.config.training import Training


@dataclass(kw_only=True)
class Distill(SoftTargets, Training):
    """A training with the distillation loss."""

    student: Architecture
    teaching: Teaching
