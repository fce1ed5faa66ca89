"""Settings of prune."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.config.distillation import SoftTargets
from src.config.training import Training
from src.foundation.constraints import OneOf, Range


@dataclass(kw_only=True)
class Prune(SoftTargets, Training):
    """Removing channels or weights, and a fine-tuning with the distillation loss.

    Attributes:
        method: whole channels, or single weights over all layers or per layer.
        ratio: share of the channels, or weights, that are removed.
        round_to: channels stay a multiple of this.
        importance: which channels are removed first.
        importance_batches: number of training batches that `taylor` sees.
        sensitivity: prune each layer alone, and report what it costs.
        spared_layers: number of most sensitive layers that are not pruned.
        rounds: of pruning and fine-tuning; the epochs are shared out among them.
    """

    method: Annotated[str, OneOf("structured", "unstructured_global", "unstructured_per_layer")]
    ratio: Annotated[float, Range(least=0, below=1)]
    round_to: Annotated[int, Range(least=1)]
    importance: Annotated[str, OneOf("magnitude", "bn_scale", "taylor")]
    importance_batches: Annotated[int, Range(least=1)]
    sensitivity: bool
    spared_layers: Annotated[int, Range(least=0)]
    rounds: Annotated[int, Range(least=1)]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of each value that contradicts another one."""
        if self.epochs < self.rounds:
            yield "epochs", f"must be at least prune.rounds ({self.rounds}), got {self.epochs}"
        if self.method != "structured" and (self.sensitivity or self.spared_layers):
            asked = "sensitivity" if self.sensitivity else "spared_layers"
            yield "method", f"must be structured where prune.{asked} is set, got {self.method}"
