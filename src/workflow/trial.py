"""The trial of a search, as the process that runs it needs it: report each epoch, and stop if it is hopeless."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SWEEPER = "hydra_plugins.optuna_sweeper.OptunaSweeper"
"""The `_target_` of conf/hydra/sweeper/optuna.yaml."""

STUDY = "study.journal"
"""The file in a sweep's folder that holds a search's trials. No other sweep has it."""

OnStep = Callable[[Mapping[str, Any], int], None]
"""Gets the metrics of a step and its number."""


class TrialPruned(Exception):
    """The search stopped its trial early. This is no fault: the run is closed and tagged `pruned`."""


def ignore(values: Mapping[str, Any], step: int) -> None:
    """Do nothing with the metrics of a step."""


def reporter(folder: Path, number: int, settings: Mapping[str, Any]) -> OnStep:
    """Return a function that reports the val mAP50-95 of an epoch to the search, and raises `TrialPruned`.

    Several seeds are several jobs of one trial. They are never stopped: the trial's value is their mean, which is not
    known before all have finished.

    Args:
        folder: of the sweep.
        number: of the job.
        settings: of the sweeper.
    """
    if not settings["prune"]:
        return ignore
    from src.workflow.study import running_trial  # here: optuna is imported only in a search

    trial = running_trial(folder, number, settings["startup_trials"], settings["spared_epochs"])
    if trial is None:
        return ignore

    def report(values: Mapping[str, Any], step: int) -> None:
        value = values.get("epoch", {}).get("map50_95")
        if value is None:
            return
        trial.report(value, step)
        if trial.should_prune():
            raise TrialPruned(f"after epoch {step}: val mAP50-95 {value:.4f} is below the median of finished trials")

    return report
