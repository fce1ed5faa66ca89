"""A Hydra sweep (`-m`) as one parent run with a child run per job.

`SweepCallback` begins the parent and leaves its id in the sweep's folder, where jobs find it whatever launcher runs
them. Every job leaves its outcome there. `finish` makes of these the winner and a table: from files, not from MLflow,
so that a sweep has both when tracking is down. Jobs that differ in `seed` alone stand together, by their mean: the best
of them would be the luckiest.

    multirun/<stage>/<time>/sweep.json     the parent
                            jobs/0.json    how a job went
                            0/             what it wrote
                            children.csv   the table
                            sweep.png      the value over the keys that were varied
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

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from src import PROJECT
from src.foundation.atomic import write_json, write_text
from src.foundation.errors import UserError
from src.workflow import tracking
from src.workflow.store import brief

PARENT, OUTCOMES, TABLE, PICTURE = "sweep.json", "jobs", "children.csv", "sweep.png"
SEED = "seed"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What a job of a sweep tells tracking. `parent_run_id` is None if tracking was down as the sweep began."""

    name: str
    parent_run_id: str | None


@dataclass(frozen=True)
class Outcome:
    """How a job went. `value` is the float that the stage's `main` returned: more is better."""

    number: int
    overrides: tuple[str, ...]
    status: str  # RUNNING, FINISHED, FAILED or KILLED
    value: float | None = None
    error: str = ""

    @property
    def name(self) -> str:
        """What the job's run is called, such as `T=1,alpha=0.5`."""
        return ",".join(self.overrides) or "as it is"

    @property
    def settings(self) -> dict[str, str]:
        """The overrides as text by key."""
        return dict(override.split("=", 1) for override in self.overrides if "=" in override)


@dataclass(frozen=True)
class Contender:
    """The jobs with a value that differ in their seed at most, first job first."""

    name: str
    jobs: tuple[Outcome, ...]

    @property
    def value(self) -> float:
        """The mean of their values."""
        return statistics.mean(self._values)

    @property
    def spread(self) -> float | None:
        """The standard deviation of their values; None for a single one."""
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


_begun: _Sweep | None = None  # by this process; Hydra offers no other way from the callback to `finish`


def job() -> Job | None:
    """Return the job of a sweep that this process runs right now; None outside of a sweep.

    Raises:
        UserError: the sweep has no parent. Hydra makes a mere warning of what fails in a callback, so it must end here.
    """
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return None
    parent = _folder(hydra) / PARENT
    if not parent.exists():
        raise UserError(
            f"{parent} is not there, so the sweep has no parent run: see the warning about SweepCallback above, "
            "and that the stage's config has `run` among its defaults"
        )
    return Job(_running(hydra).name, json.loads(parent.read_text(encoding="utf-8"))["parent_run_id"])


class SweepCallback(Callback):
    """Begins the parent run and notes how each job went (conf/run.yaml)."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin the parent run, in the process that the user started."""
        global _begun
        hydra = config.hydra
        stage = hydra.job.config_name
        log = tracking.Run(stage, PROJECT, name=" ".join([stage, "sweep", *hydra.overrides.task]))
        _begun = _Sweep(stage, _folder(hydra), log)
        write_json(_begun.folder / PARENT, {"parent_run_id": log.run_id})

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note that a job began, in the process that runs it."""
        if config.hydra.mode == RunMode.MULTIRUN:
            _note(config.hydra, _running(config.hydra))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note how a job ended, and why if it failed: Hydra itself shows the first failure only."""
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        running = _running(config.hydra)
        value = job_return._return_value  # the public property raises it if it is an exception
        if job_return.status != JobStatus.COMPLETED:
            _logger.error(
                "job %s failed: %s", running.name, value, exc_info=None if isinstance(value, UserError) else value
            )
            _note(config.hydra, replace(running, status="FAILED", error=brief(value)))
        else:
            known = isinstance(value, int | float) and math.isfinite(value)
            _note(config.hydra, replace(running, status="FINISHED", value=float(value) if known else None))


def finish(failed: bool) -> None:
    """Close the sweep that this process began: table, winner, status. Does nothing if it began none.

    Args:
        failed: the sweep ended with an exception. It counts as failed, too, if any of its jobs did.
    """
    global _begun
    if _begun is None:
        return
    from src.reporting.sweep_heat_map import draw_sweep  # only here: single runs need not wait for matplotlib

    sweep, _begun = _begun, None
    outcomes = _outcomes(sweep.folder)
    children = _children(sweep, outcomes)
    write_text(sweep.folder / TABLE, _table(outcomes, children))
    sweep.log.artifact(sweep.folder / TABLE)
    found = contenders(outcomes)
    drawn = [{**without_seed(one.jobs[0].settings), "value": one.value} for one in found]
    if len(found) == 1:  # nothing but seeds was varied
        drawn = [{**job.settings, "value": job.value} for job in found[0].jobs]
    picture = draw_sweep(drawn)
    if picture is not None:
        picture.savefig(sweep.folder / PICTURE, metadata={"Software": None})
        sweep.log.artifact(sweep.folder / PICTURE)

    finished = [outcome for outcome in outcomes if outcome.status == "FINISHED"]
    summary = f"sweep: {len(finished)} of {len(outcomes)} jobs finished"
    # A contender of whose jobs some failed is not crowned for the rest of them.
    whole = [one for one in found if len(one.jobs) == max(len(other.jobs) for other in found)]
    if whole:
        winner = max(whole, key=lambda one: one.value)
        _crown(sweep.log, winner, children.get(winner.jobs[0].number))
        summary += f", best {winner}"
    print(f"{summary}; the table is {sweep.folder / TABLE}", flush=True)
    sweep.log.end("FAILED" if failed or len(finished) < len(outcomes) else "FINISHED")


def contenders(outcomes: Sequence[Outcome]) -> list[Contender]:
    """Return the jobs that finished with a value, put together where only their seeds differ, in order."""
    together: dict[tuple[tuple[str, str], ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "FINISHED" and outcome.value is not None:
            together.setdefault(tuple(sorted(without_seed(outcome.settings).items())), []).append(outcome)
    several = any(len(jobs) > 1 for jobs in together.values())
    return [
        Contender(_name(without_seed(jobs[0].settings)) if several else jobs[0].name, tuple(jobs))
        for jobs in together.values()
    ]


def without_seed(settings: Mapping[str, str]) -> dict[str, str]:
    """Return all settings but the seed."""
    return {key: value for key, value in settings.items() if key != SEED}


def _name(settings: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in settings.items()) or "as it is"


def _crown(log: tracking.Run, winner: Contender, child: tracking.Child | None) -> None:
    """Put the winner on the parent: its value, its name and, where it was tracked, its params and its first run."""
    log.metrics({"best": winner.value})
    log.tags({"winner.name": winner.name})
    if winner.spread is not None:
        log.metrics({"best_std": winner.spread})
        log.tags({"winner.seeds": str(len(winner.jobs))})
    if child:
        log.tags({"winner.run_id": child.run_id})
        log.params(child.params if winner.spread is None else without_seed(child.params))


def _children(sweep: _Sweep, outcomes: list[Outcome]) -> dict[int, tracking.Child]:
    """Return the runs of the jobs by number; begin or end those that their jobs no longer could."""
    known = sweep.log.children()
    if known is None:
        return {}
    children = {}
    for outcome in outcomes:
        child = next((c for c in known if c.name == outcome.name), None)
        if child is None and outcome.status == "FAILED":
            late = tracking.Run(sweep.stage, PROJECT, sweep.log.run_id, outcome.name)
            late.tags({"error": outcome.error})
            late.end("FAILED")
            if late.run_id:
                children[outcome.number] = tracking.Child(late.run_id, outcome.name, "FAILED", {})
        elif child:
            known.remove(child)  # jobs with the same overrides have runs of the same name
            children[outcome.number] = child
            if outcome.status == "KILLED" and child.status == "RUNNING":
                sweep.log.close_child(child, "KILLED")
    return children


def _table(outcomes: list[Outcome], children: dict[int, tracking.Child]) -> str:
    """Return a CSV with a row per job and a column per overridden key; over several seeds also mean and deviation."""
    rows = []
    whole = {job.number: one for one in contenders(outcomes) for job in one.jobs if len(one.jobs) > 1}
    for outcome in outcomes:
        run_id = children[outcome.number].run_id if outcome.number in children else None
        ending = {"status": outcome.status, "value": outcome.value, "run_id": run_id, "error": outcome.error}
        one = whole.get(outcome.number)
        of_seeds = {"mean": one and one.value, "std": one and one.spread} if whole else {}
        rows.append({"job": outcome.number, **outcome.settings, **ending, **of_seeds})
    text = StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _outcomes(folder: Path) -> list[Outcome]:
    """Return the jobs in order. One that never said how it ended was killed."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / OUTCOMES).glob("*.json")]
    found = [Outcome(**{**values, "overrides": tuple(values["overrides"])}) for values in read]
    ended = [replace(o, status="KILLED") if o.status == "RUNNING" else o for o in found]
    return sorted(ended, key=lambda outcome: outcome.number)


def _note(hydra: HydraConf, outcome: Outcome) -> None:
    write_json(_folder(hydra) / OUTCOMES / f"{outcome.number}.json", asdict(outcome))


def _running(hydra: HydraConf) -> Outcome:
    return Outcome(hydra.job.num, tuple(hydra.overrides.task), "RUNNING")


def _folder(hydra: HydraConf) -> Path:
    return Path(hydra.runtime.cwd, hydra.sweep.dir)
