"""Records a Hydra sweep (`-m`) as one parent run with a child run per job.

`SweepCallback` starts the parent run and writes its id to the sweep's folder, where the jobs of any launcher find it.
Every job writes its outcome there. `finish` reads these files, not MLflow, to choose the winner and write the table, so
a sweep has both when tracking is down. Jobs that differ only in `seed` are compared by their mean: the best single job
would be the luckiest one.

    multirun/<stage>/<time>/sweep.json     the id of the parent run
                            jobs/0.json    the outcome of a job
                            0/             the outputs of a job
                            children.csv   the table
                            sweep.png      the value over the keys that vary

A search (src/workflow/search.py) is a sweep whose jobs follow from earlier ones. It adds files of its own.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from src import PROJECT
from src.config.stages import UNRECORDED
from src.foundation.atomic import write_json, write_text
from src.foundation.errors import UserError
from src.reporting.escaping import cell
from src.workflow import tracking
from src.workflow.store import brief
from src.workflow.trial import STUDY, SWEEPER, OnStep, TrialPruned, ignore, reporter

PARENT, LOCK, OUTCOMES, TABLE, PICTURE = "sweep.json", "sweep.lock", "jobs", "children.csv", "sweep.png"
SEED = "seed"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job of a sweep, as a run needs it.

    Attributes:
        name: of its run.
        parent_run_id: None if tracking was down when the sweep started.
        on_step: gets the metrics of each step; in a search it may stop the job.
    """

    name: str
    parent_run_id: str | None
    on_step: OnStep = ignore


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job. `value` is the float that the stage's `main` returned: higher is better."""

    number: int
    overrides: tuple[str, ...]
    status: str  # RUNNING, FINISHED, PRUNED (a search stopped it), FAILED or KILLED
    value: float | None = None
    error: str = ""

    @property
    def name(self) -> str:
        """The name of the job's run, such as `T=1,alpha=0.5`."""
        return ",".join(self.overrides) or "as it is"

    @property
    def settings(self) -> dict[str, str]:
        """The overrides by key, as text."""
        return dict(override.split("=", 1) for override in self.overrides if "=" in override)


@dataclass(frozen=True)
class Contender:
    """The jobs that differ at most in their seed.

    Attributes:
        name: of the settings without the seed; of the job if there is one job.
        jobs: those that finished with a value, first job first.
        is_complete: all its jobs did. Otherwise it cannot win: its mean covers fewer seeds.
    """

    name: str
    jobs: tuple[Outcome, ...]
    is_complete: bool = True

    @property
    def value(self) -> float:
        """The mean of the jobs' values."""
        return statistics.mean(self._values)

    @property
    def spread(self) -> float | None:
        """The standard deviation of the jobs' values; None for a single job."""
        return statistics.stdev(self._values) if len(self.jobs) > 1 else None

    @property
    def _values(self) -> list[float]:
        return [job.value for job in self.jobs if job.value is not None]

    def __str__(self) -> str:
        over = "" if self.spread is None else f" ± {self.spread:.2g} over {len(self.jobs)} seeds"
        return f"{self.name} with {self.value:.4g}{over}"


@dataclass(frozen=True)
class _Sweep:
    stage: str
    folder: Path
    log: tracking.Run
    lock: FileLock  # of a search's folder; released when the process ends


_started: _Sweep | None = None  # of this process; Hydra cannot pass it from the callback to `finish`


def job() -> Job | None:
    """Return the job of a sweep that this process runs now; None outside of a sweep.

    Raises:
        UserError: the sweep has no parent run. Hydra turns an exception in a callback into a warning, so the job must
            stop here.
    """
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    parent = folder_of(hydra) / PARENT
    if not parent.exists():
        raise UserError(
            f"{parent} is not there, so the sweep has no parent run: read the warning about SweepCallback above, "
            "and check that the stage's config has `run` among its defaults"
        )
    on_step = reporter(folder_of(hydra), hydra.job.num, hydra.sweeper) if _is_search(hydra) else ignore
    return Job(_running(hydra).name, _parent_run_id(folder_of(hydra)), on_step)


def has_started() -> bool:
    """Return whether this process has started a sweep. It has not if another process searches in the folder."""
    return _started is not None


class SweepCallback(Callback):
    """Starts the parent run and records the outcome of each job (conf/run.yaml)."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the parent run, in the process that the user started.

        The parent run of a search that goes on takes over the child runs of the earlier one. If another process
        searches in the folder, nothing starts, and the sweeper raises an error: Hydra turns those of callbacks into
        warnings.
        """
        global _started
        hydra = config.hydra
        stage, folder = hydra.job.config_name, folder_of(hydra)
        if stage in UNRECORDED:
            return
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        if _is_search(hydra):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return
        log = tracking.Run(stage, PROJECT, name=" ".join([stage, "sweep", *hydra.overrides.task]))
        log.close_abandoned()
        if (folder / STUDY).exists() and _is_search(hydra) and (earlier := _parent_run_id(folder)):
            log.take_over(earlier)
        _started = _Sweep(stage, folder, log, lock)
        write_json(folder / PARENT, {"parent_run_id": log.run_id})

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Record that a job started, in the process that runs it."""
        if config.hydra.mode == RunMode.MULTIRUN:
            _write_outcome(config.hydra, _running(config.hydra))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Record how a job ended, and its error if it failed: Hydra itself shows only the first failure."""
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        running = _running(config.hydra)
        value = job_return._return_value  # the public property raises the exception of a failed job
        if isinstance(value, TrialPruned):
            _logger.info("job %s stopped %s", running.name, value)
            _write_outcome(config.hydra, replace(running, status="PRUNED"))
        elif job_return.status != JobStatus.COMPLETED:
            _logger.error(
                "job %s failed: %s", running.name, value, exc_info=None if isinstance(value, UserError) else value
            )
            _write_outcome(config.hydra, replace(running, status="FAILED", error=brief(value)))
        else:
            known = isinstance(value, int | float) and math.isfinite(value)
            _write_outcome(config.hydra, replace(running, status="FINISHED", value=float(value) if known else None))


def finish(failed: bool) -> None:
    """Write the table, record the winner and close the sweep that this process started. Without a sweep, do nothing.

    Args:
        failed: the sweep ended with an exception. The parent run also fails if any job did not finish.
    """
    global _started
    if _started is None:
        return
    sweep, _started = _started, None
    outcomes = outcomes_of(sweep.folder)
    if not outcomes:  # an error before the first job, which has a line of its own
        sweep.log.end("FAILED")
        return
    children = _children(sweep, outcomes)
    write_text(sweep.folder / TABLE, _table(outcomes, children))
    sweep.log.artifact(sweep.folder / TABLE)
    counted = _without_repeated(outcomes)
    found = contenders(counted)
    for picture in _pictures(sweep.folder, found):
        sweep.log.artifact(picture)

    finished, pruned = ([o for o in counted if o.status == status] for status in ("FINISHED", "PRUNED"))
    summary = f"sweep: {len(finished)} of {len(counted)} jobs finished"
    if pruned:
        summary += f", {len(pruned)} stopped early"
    if winner := winner_of(found):
        _record_winner(sweep.log, winner, children.get(winner.jobs[0].number))
        summary += f", best {winner}"
    print(f"{summary}; the table is {sweep.folder / TABLE}", flush=True)
    sweep.log.end("FAILED" if failed or len(finished) + len(pruned) < len(counted) else "FINISHED")


def folder_of(hydra: HydraConf) -> Path:
    """Return the folder of a sweep."""
    return Path(hydra.runtime.cwd, hydra.sweep.dir)


def contenders(outcomes: Sequence[Outcome]) -> list[Contender]:
    """Return the settings of which at least one job finished with a value, in order of their first job.

    >>> jobs = [Outcome(0, ("T=1", "seed=0"), "FINISHED", 0.4), Outcome(1, ("T=1", "seed=1"), "FINISHED", 0.6)]
    >>> [str(one) for one in contenders(jobs)]
    ['T=1 with 0.5 ± 0.14 over 2 seeds']
    """
    groups: dict[tuple[tuple[str, str], ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(tuple(sorted(without_seed(outcome.settings).items())), []).append(outcome)
    over_seeds = any(len(jobs) > 1 for jobs in groups.values())
    found = []
    for jobs in groups.values():
        name = _name(without_seed(jobs[0].settings)) if over_seeds else jobs[0].name
        with_value = tuple(job for job in jobs if job.status == "FINISHED" and job.value is not None)
        if with_value:
            found.append(Contender(name, with_value, is_complete=len(with_value) == len(jobs)))
    return found


def winner_of(found: Sequence[Contender]) -> Contender | None:
    """Return the complete contender with the highest mean; None if none is complete."""
    return max((one for one in found if one.is_complete), key=lambda one: one.value, default=None)


def without_seed(settings: Mapping[str, str]) -> dict[str, str]:
    """Return all settings except the seed."""
    return {key: value for key, value in settings.items() if key != SEED}


def _name(settings: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in settings.items()) or "as it is"


def _record_winner(log: tracking.Run, winner: Contender, child: tracking.Child | None) -> None:
    """Record the winner on the parent run: its value and name and, if it was tracked, its params and first run."""
    log.metrics({"best": winner.value})
    log.tags({"winner.name": winner.name})
    if winner.spread is not None:
        log.metrics({"best_std": winner.spread})
        log.tags({"winner.seeds": str(len(winner.jobs))})
    if child:
        log.tags({"winner.run_id": child.run_id})
        log.params(child.params if winner.spread is None else without_seed(child.params))


def _children(sweep: _Sweep, outcomes: list[Outcome]) -> dict[int, tracking.Child]:
    """Return the runs of the jobs by number. Create missing runs of failed jobs and close the runs of killed jobs."""
    known = sweep.log.children()
    if known is None:
        return {}
    children = {}
    for outcome in outcomes:
        child = next((c for c in known if c.name == tracking.run_name(outcome.name)), None)
        if child is None and outcome.status == "FAILED":
            late = tracking.Run(sweep.stage, PROJECT, sweep.log.run_id, outcome.name)
            late.tags({"error": outcome.error})
            late.end("FAILED")
            if late.run_id:
                children[outcome.number] = tracking.Child(late.run_id, outcome.name, "FAILED", {})
        elif child:
            known.remove(child)  # jobs with the same overrides have runs with the same name
            children[outcome.number] = child
            if outcome.status == "KILLED" and child.status == "RUNNING":
                sweep.log.close_child(child, "KILLED")
    return children


def _pictures(folder: Path, found: Sequence[Contender]) -> list[Path]:
    """Draw a sweep, and return the files."""
    # Imported here, so that single runs do not load matplotlib.
    if (folder / STUDY).exists():  # no two values of a search are alike, so a heat map would show nothing
        from src.workflow.study import draw_pictures

        return draw_pictures(folder)
    from src.reporting.sweep_heat_map import draw_sweep

    values = [{**without_seed(one.jobs[0].settings), "value": one.value} for one in found]
    if len(found) == 1:  # only the seed varies
        values = [{**job.settings, "value": job.value} for job in found[0].jobs]
    return [folder / PICTURE] if draw_sweep(values, folder / PICTURE) else []


def _table(outcomes: list[Outcome], children: dict[int, tracking.Child]) -> str:
    """Return a CSV with a row per job and a column per overridden key; for several seeds also mean and std."""
    rows = []
    found = contenders(_without_repeated(outcomes))
    over_seeds = {job.number: one for one in found for job in one.jobs if len(one.jobs) > 1}
    for outcome in outcomes:
        run_id = children[outcome.number].run_id if outcome.number in children else None
        ending = {"status": outcome.status, "value": outcome.value, "run_id": run_id, "error": outcome.error}
        one = over_seeds.get(outcome.number)
        seed_statistics = {"mean": one and one.value, "std": one and one.spread} if over_seeds else {}
        rows.append({"job": outcome.number, **outcome.settings, **ending, **seed_statistics})
    text = StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = csv.writer(text, lineterminator="\n")
    table.writerow(map(cell, columns))
    table.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def outcomes_of(folder: Path) -> list[Outcome]:
    """Return the jobs of a sweep in order. A job without a recorded end was killed."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / OUTCOMES).glob("*.json")]
    found = [Outcome(**{**values, "overrides": tuple(values["overrides"])}) for values in read]
    ended = [replace(o, status="KILLED") if o.status == "RUNNING" else o for o in found]
    return sorted(ended, key=lambda outcome: outcome.number)


def _is_search(hydra: HydraConf) -> bool:
    return hydra.sweeper._target_ == SWEEPER


def _parent_run_id(folder: Path) -> str | None:
    found: str | None = json.loads((folder / PARENT).read_text(encoding="utf-8"))["parent_run_id"]
    return found


def _without_repeated(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the jobs without the killed ones that a continued search ran again."""
    last = {outcome.overrides: outcome.number for outcome in outcomes}
    return [o for o in outcomes if o.status != "KILLED" or o.number == last[o.overrides]]


def _write_outcome(hydra: HydraConf, outcome: Outcome) -> None:
    write_json(folder_of(hydra) / OUTCOMES / f"{outcome.number}.json", asdict(outcome))


def _running(hydra: HydraConf) -> Outcome:
    return Outcome(hydra.job.num, tuple(hydra.overrides.task), "RUNNING")
