"""The study of a search: an optuna study in a file of the sweep's folder, which a later process continues.

Trials are drawn in batches. The sampler's seed follows from the search's seed and from the number of trials before the
batch, and the pruner compares with trials of earlier batches only: the same results lead to the same trials, also
across an interruption and with jobs side by side. A successive-halving pruner would depend on which job is faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from src.config.optuna_search import OptunaSearch
from src.foundation.errors import UserError
from src.reporting.search_plots import draw_history, draw_importances
from src.workflow.trial import NAME, SEEDS, STUDY, storage

OVERRIDES = "overrides"  # attribute of the study, as SEEDS
REPEATS = "repeats"  # attribute of a trial: the number of the interrupted trial that it repeats

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""Errors that optuna raises for a file that is no study of its own."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_study(folder: Path, overrides: list[str], seeds: int) -> Study:
    """Return the study in a sweep's folder, a new one if there is none.

    Args:
        folder: of the sweep.
        overrides: of the command line; a study goes on with the same ones only.
        seeds: number of jobs per trial.

    Raises:
        UserError: the file cannot be read, or the study has other overrides.
    """
    path = folder / STUDY
    try:
        study = optuna.create_study(storage=storage(folder), study_name=NAME, direction="maximize", load_if_exists=True)
        attributes = study.user_attrs
    except UNREADABLE as error:
        raise UserError(f"{path}: cannot be read ({error!r}): name another folder with hydra.sweep.dir") from error
    if OVERRIDES not in attributes:
        study.set_user_attr(SEEDS, seeds)
        study.set_user_attr(OVERRIDES, overrides)
    elif sorted(attributes[OVERRIDES]) != sorted(overrides):
        raise UserError(
            f"{path}: expected the overrides of this study, {' '.join(attributes[OVERRIDES])}, "
            f"got {' '.join(overrides)}: repeat its command, or name another folder with hydra.sweep.dir"
        )
    return study


def draw(study: Study, space: Mapping[str, BaseDistribution], settings: OptunaSearch, batch: int) -> list[Trial]:
    """Return the next trials, at most `batch`; none if the study has all its trials. Repeated trials come first."""
    trials = study.get_trials(deepcopy=False)
    planned = sum(REPEATS not in trial.user_attrs for trial in trials)
    repeated = sum(trial.state == TrialState.WAITING for trial in trials)
    seed = np.random.SeedSequence((settings.seed, planned)).generate_state(1)
    study.sampler = TPESampler(seed=int(seed[0]), n_startup_trials=settings.startup_trials)
    return [study.ask(dict(space)) for _ in range(repeated or min(batch, settings.n_trials - planned))]


def repeat(study: Study, number: int) -> None:
    """Fail a trial whose process was killed, and repeat its parameters in a new trial."""
    study.enqueue_trial(study.trials[number].params, user_attrs={REPEATS: number})
    study.tell(number, state=TrialState.FAIL)


def failed(study: Study) -> int:
    """Return the number of trials that failed on their own."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state == TrialState.FAIL for trial in trials) - sum(REPEATS in t.user_attrs for t in trials)


def draw_pictures(folder: Path) -> list[Path]:
    """Draw the history of a search and the importance of its parameters (PED-ANOVA, arXiv 2304.10255).

    Returns:
        The files. None are drawn for what cannot be known: without two different values no parameter is important.
    """
    try:
        study = optuna.load_study(study_name=NAME, storage=storage(folder))
    except UNREADABLE:  # `open_study` has raised this to the user
        return []
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [(trial.number, trial.value) for trial in finished if trial.value is not None]
    differ = len({value for _, value in values}) > 1
    importances = optuna.importance.get_param_importances(study) if differ else {}
    history_png, importance_png = folder / "history.png", folder / "importance.png"
    drawn = {
        history_png: draw_history(values, history_png),
        importance_png: draw_importances(importances, importance_png),
    }
    return [path for path, is_drawn in drawn.items() if is_drawn]
