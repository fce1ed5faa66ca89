"""A search: draw trials, run them as jobs of a sweep, tell their values, until the study has all its trials.

    multirun/<stage>/<time>/study.journal    the trials; a killed search goes on from it
                            history.png      the value of each trial, and the best so far
                            importance.png   the importance of each parameter

The jobs, their runs and the winner are those of every sweep (src/workflow/sweep.py).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from joblib import effective_n_jobs
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from optuna.study import Study
from optuna.trial import TrialState

from src.config.optuna_search import OptunaSearch
from src.foundation.constraints import violations
from src.foundation.errors import UserError
from src.workflow import sweep
from src.workflow.search_space import Space, space_of
from src.workflow.study import draw, failed, open_study, repeat
from src.workflow.trial import TrialPruned


def search(
    settings: Mapping[str, Any], arguments: list[str], config: DictConfig, loader: ConfigLoader, launcher: Launcher
) -> list[Sequence[JobReturn]]:
    """Run the trials that a study lacks.

    Args:
        settings: of the sweeper, see `OptunaSearch`.
        arguments: the overrides of the command line, without Hydra's own.
        config: the composed config, with Hydra's part.
        loader: composes the config of a trial.
        launcher: runs jobs.

    Returns:
        The results of the jobs, by batch.

    Raises:
        UserError: the settings or the overrides cannot be used, another process searches in the folder, or trials
            failed. A search goes on after a failed trial, unless no trial has had a value yet.
    """
    checked = _checked(settings)
    space = space_of(OverridesParser.create(config_loader=loader).parse_overrides(arguments))
    _expect_admitted(space, config, loader)
    folder = sweep.folder_of(config.hydra)
    if not sweep.has_started():
        raise UserError(f"{folder}: another process searches there: wait until it ends, or name another folder")
    OmegaConf.save(config, folder / "multirun.yaml")
    study = open_study(folder, arguments, len(space.seeds))
    _settle(study, folder, len(space.seeds))
    batch = checked.n_jobs or effective_n_jobs(config.hydra.launcher.get("n_jobs") or 1)
    results = []
    while trials := draw(study, space.drawn, checked, batch):
        jobs = [job for trial in trials for job in space.jobs(trial.params)]
        results.append(launcher.launch(jobs, initial_job_idx=trials[0].number * len(space.seeds)))
        _settle(study, folder, len(space.seeds))
        _expect_value(study, results[-1])
    if missing := failed(study):
        raise UserError(f"{missing} of {checked.n_trials} trials failed: {folder / sweep.TABLE} has their errors")
    return results


def _checked(settings: Mapping[str, Any]) -> OptunaSearch:
    # Under the keys of the command line, which OmegaConf's messages name.
    schema = OmegaConf.create({"hydra": {"sweeper": OmegaConf.structured(OptunaSearch)}})
    checked = OmegaConf.to_object(OmegaConf.merge(schema, {"hydra": {"sweeper": dict(settings)}}).hydra.sweeper)
    assert isinstance(checked, OptunaSearch)
    if faults := [f"hydra.sweeper.{key} {fault}" for key, fault in violations(checked)]:
        raise UserError("; ".join(faults))
    return checked


def _expect_admitted(space: Space, config: DictConfig, loader: ConfigLoader) -> None:
    """Check that the stage knows all keys, and admits the ends of their intervals."""
    faults: dict[str, None] = {}
    for params in space.corners():
        composed = loader.load_sweep_config(config, space.jobs(params)[0])
        with read_write(composed), open_dict(composed):
            del composed["hydra"]
        if is_dataclass(OmegaConf.get_type(composed)):
            faults |= {
                f"{key} {fault}: change its interval": None for key, fault in violations(OmegaConf.to_object(composed))
            }
    if faults:
        raise UserError("; ".join(faults))


def _settle(study: Study, folder: Path, seeds: int) -> None:
    """Tell the study how its running trials ended. Trials whose process was killed are repeated."""
    outcomes = {outcome.number: outcome for outcome in sweep.outcomes_of(folder)}
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        jobs = [outcomes[job] for job in range(trial.number * seeds, (trial.number + 1) * seeds) if job in outcomes]
        states = {job.status for job in jobs}
        values = [job.value for job in jobs if job.value is not None]
        if len(jobs) < seeds or "KILLED" in states:
            repeat(study, trial.number)
        elif "PRUNED" in states:
            study.tell(trial.number, state=TrialState.PRUNED)
        elif len(values) < seeds:
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            study.tell(trial.number, statistics.mean(values))


def _expect_value(study: Study, results: Sequence[JobReturn]) -> None:
    """Stop a search in which nothing has had a value yet: a missing file fails every trial.

    Raises:
        UserError: no job returned a value.
        Exception: the error of the first job that failed.
    """
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        return
    for result in results:
        error = result._return_value  # the public property raises it
        if result.status == JobStatus.FAILED and not isinstance(error, TrialPruned):
            raise error
    raise UserError("the stage returns no val mAP50-95: there is nothing to search by")
