"""Settings of every stage that distils: T, alpha, the cache of the teacher's answers, the weights of the losses."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any

from src.config.common import Common
from src.distillation.losses import LOSSES
from src.foundation.constraints import OneOf, Range

Distillation: Any = make_dataclass(
    "Distillation", [(name, Annotated[float, Range(least=0)], field(default=0.0)) for name in LOSSES], kw_only=True
)
"""The weight of each loss in the soft loss (group `distillation`). A loss of weight 0 is not computed."""


@dataclass(kw_only=True)
class SoftTargets(Common):
    """total = alpha * soft * T^2 + (1 - alpha) * hard.

    Attributes:
        T: temperature.
        alpha: share of the soft targets.
        cache: when the teacher's answers are kept on disk: in sweeps, always or never.
        cache_gib: largest size of that cache.
        distillation: the weights of the losses.
    """

    T: Annotated[float, Range(above=0)]
    alpha: Annotated[float, Range(least=0, most=1)]
    cache: Annotated[str, OneOf("sweep", "always", "never")]
    cache_gib: Annotated[float, Range(above=0)]
    distillation: Distillation
