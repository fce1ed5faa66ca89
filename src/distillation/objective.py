"""The total loss of a student: total = alpha * soft * T^2 + (1 - alpha) * hard.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531, section 2). The gradients of
softened targets shrink as 1 / T^2; the factor T^2 keeps their size while T varies. T does not soften features, so their
losses do not have this factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from src.distillation.losses import FEATURES, LOSSES


@dataclass(frozen=True)
class Objective:
    """The weights of soft and hard losses in the total.

    Attributes:
        temperature: T > 0.
        alpha: share of the soft targets, in (0, 1].
        weights: weight of each loss in the soft loss, by its name in `LOSSES`, above 0.
    """

    temperature: float
    alpha: float
    weights: Mapping[str, float]

    @property
    def compares_features(self) -> bool:
        """Whether a loss compares features."""
        return any(LOSSES[name].compares == FEATURES for name in self.weights)

    def scale(self, name: str) -> float:
        """Return the factor of the loss `name`: its weight, times T^2 if the temperature softens its targets.

        >>> objective = Objective(temperature=2.0, alpha=0.5, weights={"response": 3.0, "feature": 3.0})
        >>> objective.scale("response"), objective.scale("feature")
        (12.0, 3.0)
        """
        return self.weights[name] * (self.temperature**2 if LOSSES[name].softens else 1.0)
