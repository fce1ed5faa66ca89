"""What a student minimises: total = alpha * soft * T^2 + (1 - alpha) * hard.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531, section 2). The factor T^2
keeps the gradients of softened targets of one size while T varies: they shrink as 1 / T^2. Features have no targets
that T softens, so their losses have no such factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from src.distillation.losses import FEATURES, LOSSES


@dataclass(frozen=True)
class Objective:
    """How soft and hard targets make a total.

    Attributes:
        temperature: T > 0.
        alpha: share of the soft targets, in (0, 1].
        weights: of each loss in the soft loss, by its name in `LOSSES`, above 0.
    """

    temperature: float
    alpha: float
    weights: Mapping[str, float]

    @property
    def compares_features(self) -> bool:
        """Whether a loss compares features."""
        return any(LOSSES[name].compares == FEATURES for name in self.weights)

    def scale(self, name: str) -> float:
        """Return what the loss `name` is multiplied by: its weight, and T^2 if the temperature softens its targets."""
        return self.weights[name] * (self.temperature**2 if LOSSES[name].softens else 1.0)
