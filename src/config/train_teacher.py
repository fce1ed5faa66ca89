"""Settings of train-teacher."""

from __future__ import annotations

from dataclasses import dataclass

from src.config.architecture import Architecture
from src.config.training import Training


@dataclass(kw_only=True)
class TrainTeacher(Training):
    """A training with ultralytics' own loss."""

    teacher: Architecture
