"""What a tuning chose, and how ultralytics' own distillation is computed, whose weight no stage knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.evidence import distill_model
from src.foundation.digests import digest
from src.workflow.stage import Stage

WEIGHT = "dis="
"""The setting that only ultralytics' distillation has."""


@dataclass(frozen=True)
class Tuned:
    """The choice of a tuning: overrides, the epochs that all tries took together, and the digest of its file."""

    settings: tuple[str, ...] = ()
    epochs: int = 0
    digest: str | None = None


def tuned_file(project: Path, method: str) -> Path:
    """Return the file of a method's choice in the folder of a dataset."""
    return project / f"tuned/{method}.json"


def read_tuned(project: Path, method: str | None) -> Tuned:
    """Return the choice of a method on a dataset; of None: nothing."""
    if method is None:
        return Tuned()
    path = tuned_file(project, method)
    content = json.loads(path.read_text(encoding="utf-8"))
    return Tuned(tuple(content["settings"]), content["epochs"], digest(path))


def computing(overrides: list[str], *, distills_model: bool) -> tuple[list[str], Stage | None]:
    """Return the overrides for distill-student, and what computes in its place; None: nothing does.

    Args:
        overrides: with the weight of ultralytics' distillation among them, if it is not the default.
        distills_model: whether ultralytics' distillation computes.
    """
    weights = [float(one.removeprefix(WEIGHT)) for one in overrides if one.startswith(WEIGHT)]
    own = [one for one in overrides if not one.startswith(WEIGHT)]
    return own, partial(distill_model.run, weight=weights[-1] if weights else None) if distills_model else None
