"""Settings of a search with optuna (conf/hydra/sweeper/optuna.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import Range

LARGEST_SEED = 2**32 - 1


@dataclass(kw_only=True)
class OptunaSearch:
    """Number of trials, their order, and when a trial is stopped early.

    Attributes:
        n_trials: of the whole study.
        n_jobs: number of trials that are drawn together; None: the launcher's number of processes, or 1.
        seed: of the search.
        startup_trials: number of first trials that are random, and of trials that finish before any is stopped.
        prune: whether hopeless trials are stopped.
        spared_epochs: number of epochs that every trial trains.
    """

    n_trials: Annotated[int, Range(least=1)]
    n_jobs: Annotated[int | None, Range(least=1)]
    seed: Annotated[int, Range(least=0, most=LARGEST_SEED)]
    startup_trials: Annotated[int, Range(least=1)]
    prune: bool
    spared_epochs: Annotated[int, Range(least=0)]
