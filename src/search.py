"""search: from a budget to a detector: `python -m src.search budget_ms=5`.

Latency does not need training. Every candidate is exported, quantized and timed untrained; those within the budget are
distilled and pruned by successive halving; the survivors are quantized, and the best on val wins.

Reads data/prepared and models/teacher.pt. Writes the table, the picture and the page in reports/search, and the models
of the winner. `python -m src.promote` takes the winner's settings from MLflow. By hand only.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("search")

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from src.config.search import Search
from src.evaluation.machine import describe_machine
from src.foundation.atomic import whole_file, whole_folder
from src.foundation.digests import digest
from src.foundation.pipeline import PREPARED
from src.reporting.accuracy_plots import pareto_front
from src.reporting.search_report import write_search
from src.searching.budget import shown
from src.searching.candidates import Candidate, candidates_of
from src.searching.outcomes import NOT_TRAINED, Outcome, choose, entering, none_fits, none_within, points, rows
from src.searching.records import CandidateRuns, candidate_runs
from src.searching.settings import recipe
from src.searching.task import Task, only_search, task_of
from src.searching.timing import timed
from src.searching.work import quantize, train
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

REPORT = "reports/search"

_logger = logging.getLogger(__name__)


def run(params: Search, files: StageFiles, log: Run) -> StageResult:
    """Search, write the reports, and return the winner's accuracy and cost; a failure if nothing fits."""
    root = files.cache("search")
    with only_search(root):
        task = task_of(params, files, root)
        log.dataset("prepared", digest(task.prepared), PREPARED, {"split": "val"})
        before = timed(candidates_of(params), task.prepared, root, task.evaluation)
        outcomes, entered = entering(before.costs, task.budget)
        _logger.info("%d of %d candidates are within %s", len(entered), len(outcomes), task.budget)
        with candidate_runs(log, files.project) as runs:
            chosen = train(entered, outcomes, before.arithmetic, task, runs) if entered else []
            models = quantize(chosen, outcomes, task, runs)
            finalists = {candidate: outcomes[candidate] for candidate in models}
            winner = choose(finalists, task.budget, task.teacher_val, params.max_drop)
            _record(outcomes, task, runs)
        _keep(winner, models, files)
        failure = None if winner else _failure(outcomes, finalists, task)
        _write_report(outcomes, winner, task, failure, files, log)
        if winner:
            log.params(_recipe(winner, outcomes[winner], task))
            log.tags({"winner.name": str(winner)})
            _logger.info("the winner is %s; next: python -m src.promote %s && dvc repro", winner, log.run_id)
        return StageResult(_metrics(outcomes, winner, task), failure)


def _failure(outcomes: Mapping[Candidate, Outcome], finalists: Mapping[Candidate, Outcome], task: Task) -> str:
    """Return why there is no winner."""
    if finalists:
        return none_fits(finalists, task.budget, task.teacher_val, task.settings.max_drop)
    if any(found.state == NOT_TRAINED for found in outcomes.values()):
        return f"hours={task.settings.hours:g} were over before a candidate was trained: allow more"
    return none_within({candidate: found.cost for candidate, found in outcomes.items()}, task.budget)


def _recipe(candidate: Candidate, found: Outcome, task: Task) -> dict[str, dict[str, Any]]:
    """Return the settings with which the pipeline makes a trained candidate, by stage."""
    assert found.epochs is not None, candidate
    return recipe(candidate.network, candidate.target, task.pipeline.epochs(found.epochs))


def _record(outcomes: Mapping[Candidate, Outcome], task: Task, runs: CandidateRuns) -> None:
    """Record how far each candidate came. One that was trained can be promoted."""
    for candidate, found in outcomes.items():
        settings = None if found.epochs is None else _recipe(candidate, found, task)
        runs.end(candidate, found.state, found.metrics(), settings)


def _keep(winner: Candidate | None, models: Mapping[Candidate, Mapping[str, Path]], files: StageFiles) -> None:
    """Write the models of the winner."""
    for name, path in models[winner].items() if winner else ():
        with whole_file(files.write(name)) as partial:
            shutil.copy(path, partial)


def _write_report(
    outcomes: Mapping[Candidate, Outcome],
    winner: Candidate | None,
    task: Task,
    failure: str | None,
    files: StageFiles,
    log: Run,
) -> None:
    drawn = points(outcomes)
    front = pareto_front({name: point[:2] for name, point in drawn.items()})
    quantized = [str(candidate) for candidate, found in outcomes.items() if found.int8_val is not None]
    machine = f"{describe_machine()['cpu']}, {task.evaluation.latency_threads} thread(s)"
    report = files.project / REPORT
    with whole_folder(report) as folder:
        summary = _summary(outcomes, winner, task, failure, machine, log.run_id)
        write_search(rows(outcomes, front), drawn, quantized, summary, f"{machine}. Grey: in float", folder)
    log.artifact(report, folder="report")
    _logger.info("the table, the picture and the page are in %s", report)


def _summary(
    outcomes: Mapping[Candidate, Outcome],
    winner: Candidate | None,
    task: Task,
    failure: str | None,
    machine: str,
    run_id: str | None,
) -> list[str]:
    """Return the paragraphs that open the page."""
    asked = f"Budget: {task.budget}"
    if task.settings.max_drop is not None:
        asked += f", at most {task.settings.max_drop:g} of val mAP50-95 below the teacher"
    conditions = f"{asked}. {len(outcomes)} candidates, timed on {machine}. The teacher has {task.teacher_val:.4f}."
    if winner is None:
        return [conditions, f"Nothing fits: {failure}."]
    found = outcomes[winner]
    assert found.trained_cost is not None, winner
    cost = f"{shown(found.trained_cost)}, val mAP50-95 {found.int8_val:.4f}"
    promote = f"`python -m src.promote {run_id}`, then `dvc repro`"
    return [conditions, f"**Winner: {winner}**: {cost} in INT8, after {found.epochs} epoch(s).", f"Next: {promote}."]


def _metrics(outcomes: Mapping[Candidate, Outcome], winner: Candidate | None, task: Task) -> dict[str, Any]:
    counts = {
        "candidates": len(outcomes),
        "trained": sum(found.epochs is not None for found in outcomes.values()),
        "quantized": sum(found.int8_val is not None for found in outcomes.values()),
        "teacher": {"val": {"map50_95": task.teacher_val}},
    }
    if winner is None:
        return counts
    found = outcomes[winner]
    cost = found.trained_cost
    assert cost is not None, winner
    latency = {"p50_ms": cost.p50_ms, "p95_ms": cost.p95_ms}
    settings = {**asdict(winner.network), "target": winner.target, "epochs": found.epochs}
    val = {"map50_95": found.int8_val}
    return {"val": val, "latency": latency, "size_mib": cost.mib, "winner": settings, **counts}
