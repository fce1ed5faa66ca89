"""The trial of a search, as the process that runs it needs it: report each epoch, and stop if it is hopeless."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # only a search imports optuna
    from optuna.storages import JournalStorage
    from optuna.trial import Trial

SWEEPER = "hydra_plugins.optuna_sweeper.OptunaSweeper"
"""The `_target_` of conf/hydra/sweeper/optuna.yaml."""

STUDY = "study.journal"
"""The file in a sweep's folder that holds a search's trials. No other sweep has it."""

NAME = "search"
"""The name of the only study in the file."""

SEEDS = "seeds"
"""The study's attribute that holds the number of jobs per trial."""

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


def storage(folder: Path) -> JournalStorage:
    """Return the storage of the study in a sweep's folder."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / STUDY)))


def running_trial(folder: Path, job: int, startup_trials: int, spared_epochs: int) -> Trial | None:
    """Return the trial of a job, for another process than the one that drew it; None if trials have several seeds."""
    import optuna

    pruner = optuna.pruners.MedianPruner(startup_trials, n_warmup_steps=spared_epochs)
    study = optuna.load_study(study_name=NAME, storage=storage(folder), pruner=pruner)
    if study.user_attrs[SEEDS] > 1:
        return None
    # optuna has no public way to open a trial by its number in another process.
    return optuna.trial.Trial(study, study.get_trials(deepcopy=False)[job]._trial_id)
