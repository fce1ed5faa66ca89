"""The work of a search: the rungs of training, then the quantization of those that are left."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from src.detector.complexity import complexity
from src.foundation.pipeline import INT8_ONNX
from src.searching.candidates import Candidate, Network
from src.searching.estimate import Load, seconds, shown_time
from src.searching.halving import Trained, halve, rungs, trainings
from src.searching.outcomes import TRAINED, Outcome
from src.searching.records import CandidateRuns
from src.searching.task import Task
from src.searching.timing import measured
from src.searching.untrained import Arithmetic

_logger = logging.getLogger(__name__)


def train(
    entered: Sequence[Candidate],
    outcomes: Mapping[Candidate, Outcome],
    arithmetic: Mapping[Network, Arithmetic],
    task: Task,
    runs: CandidateRuns,
) -> list[Candidate]:
    """Train candidates by successive halving, and return those to be quantized, the best first.

    They are those of the last rung. If the time was over before one of these was trained, it is the best so far.

    Args:
        entered: the candidates of the first rung.
        outcomes: get the epochs and the accuracy of each candidate.
        arithmetic: of their networks, for an estimate of the time.
        task: of the search.
        runs: the candidates' runs in MLflow.
    """
    pipeline, eta = task.pipeline, task.settings.eta
    done: dict[Candidate, Trained] = {}
    epochs = rungs(pipeline.distill.epochs, eta, task.settings.first_epochs)
    plan = trainings(len(entered), epochs, eta)
    _logger.info("rungs of training: %s", ", ".join(f"{count} x {of_rung} epoch(s)" for count, of_rung in plan))
    if task.is_over():
        return []
    _say_estimate(entered, plan, arithmetic, task, runs)
    with tqdm(total=sum(count for count, _ in plan), desc="training", unit="network") as progress:

        def value(candidate: Candidate, of_rung: int) -> float:
            made = pipeline.pruned(candidate.network, of_rung, runs.of(candidate).run_id)
            outcome = outcomes[candidate]
            outcome.state, outcome.epochs, outcome.val = TRAINED, of_rung, made.val_map50_95
            progress.update()
            return made.val_map50_95

        for number, of_this in enumerate(halve(entered, epochs, eta, value, task.is_over), start=1):
            done |= of_this
            if of_this:
                best = max(of_this, key=lambda one: of_this[one].value)
                _logger.info(
                    "rung %d of %d: the best of %d is %s with val mAP50-95 %.4f",
                    *(number, len(epochs), len(of_this), best, of_this[best].value),
                )
    ranked = sorted(done, key=lambda one: done[one].value, reverse=True)
    last = [candidate for candidate in ranked if done[candidate].epochs == epochs[-1]]
    if len(last) < plan[-1][0]:
        _logger.warning("the time is over (hours=%g): the best so far is taken", task.settings.hours or 0)
    return last or ranked[:1]


def quantize(
    chosen: Sequence[Candidate], outcomes: Mapping[Candidate, Outcome], task: Task, runs: CandidateRuns
) -> dict[Candidate, dict[str, Path]]:
    """Quantize trained candidates, measure them again, and return their models by the names in the pipeline.

    Args:
        chosen: the candidates, the best first. If the time is over, only the first is quantized.
        outcomes: get the accuracy and the cost of each INT8 network.
        task: of the search.
        runs: the candidates' runs in MLflow.
    """
    models: dict[Candidate, dict[str, Path]] = {}
    for candidate in tqdm(chosen, desc="quantizing", unit="network", disable=not chosen):
        if models and task.is_over():
            break
        outcome = outcomes[candidate]
        assert outcome.epochs is not None, candidate
        made, models[candidate] = task.pipeline.quantized(candidate, outcome.epochs, runs.of(candidate).run_id)
        outcome.int8_val = made.val_map50_95
    files = {candidate: of_one[INT8_ONNX] for candidate, of_one in models.items()}
    costs = measured(files, task.prepared, task.evaluation) if files else {}
    for candidate, cost in costs.items():
        outcomes[candidate].trained_cost = cost
    return models


def _say_estimate(
    entered: Sequence[Candidate],
    plan: Sequence[tuple[int, int]],
    arithmetic: Mapping[Network, Arithmetic],
    task: Task,
    runs: CandidateRuns,
) -> None:
    """Make the first training of the first rung, and say how long all will take."""
    teacher = {one.network.imgsz: complexity(task.teacher, one.network.imgsz).gflops for one in entered}
    loads = {one: Load.of(arithmetic[one.network], teacher[one.network.imgsz]) for one in entered}
    first, of_rung = entered[0], plan[0][1]
    made = task.pipeline.distilled(first.network, of_rung, runs.of(first).run_id)
    all_s = seconds(
        plan,
        loads.values(),
        len({(one.network.student, one.network.activation, one.network.imgsz) for one in entered}),
        lambda epochs: task.pipeline.epochs(epochs)["prune"],
        made.seconds / (of_rung * loads[first].distill),
    )
    _logger.info(
        "all trainings take about %s, less where an earlier search made some: estimated from the first, %s with %d "
        "epoch(s) in %s, by the arithmetic of the others",
        *(shown_time(all_s), first, of_rung, shown_time(made.seconds)),
    )
