"""How far each candidate of a search came, and the winner."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from src.evaluation.gate import gate_passes
from src.searching.budget import Budget, Cost, nearest, shown
from src.searching.candidates import Candidate

OVER_BUDGET = "over the budget"
SLOWER_TARGET = "another target is faster"
NOT_TRAINED = "not trained"
TRAINED = "trained"
FINALIST = "finalist"
LOSES_TOO_MUCH = "loses too much"
WINNER = "winner"


@dataclass
class Outcome:
    """How far a candidate came.

    Attributes:
        cost: of the untrained network. All were timed in turns, so these are compared.
        trained_cost: of the trained INT8 network.
        state: one of the texts of this module.
        epochs: of the distillation in its last rung.
        val: mAP50-95 on val of the pruned network in float.
        int8_val: of the INT8 network.
    """

    cost: Cost
    trained_cost: Cost | None = None
    state: str = NOT_TRAINED
    epochs: int | None = None
    val: float | None = None
    int8_val: float | None = None

    @property
    def accuracy(self) -> float | None:
        """The mAP50-95 on val that is known: of INT8, else of the pruned network."""
        return self.val if self.int8_val is None else self.int8_val

    def metrics(self) -> dict[str, Any]:
        """Return the numbers that are known."""
        trained = {} if self.trained_cost is None else {"trained": asdict(self.trained_cost)}
        accuracy = {"epochs": self.epochs, "val_float": self.val, "val": {"map50_95": self.int8_val}}
        return {**asdict(self.cost), **trained, **accuracy}


def entering(costs: Mapping[Candidate, Cost], budget: Budget) -> tuple[dict[Candidate, Outcome], list[Candidate]]:
    """Return the outcomes before training, and the candidates that enter the first rung.

    Of a network only its fastest target enters: targets share a training, and differ in latency.
    """
    outcomes = {candidate: Outcome(cost) for candidate, cost in costs.items()}
    fastest: dict[Any, Candidate] = {}
    for candidate, outcome in outcomes.items():
        if not budget.admits(outcome.cost):
            outcome.state = OVER_BUDGET
            continue
        other = fastest.setdefault(candidate.network, candidate)
        if outcome.cost.p50_ms < costs[other].p50_ms:
            fastest[candidate.network] = candidate
    for candidate, outcome in outcomes.items():
        if outcome.state == NOT_TRAINED and fastest[candidate.network] != candidate:
            outcome.state = SLOWER_TARGET
    return outcomes, list(fastest.values())


def choose(
    finalists: Mapping[Candidate, Outcome], budget: Budget, teacher_val: float, max_drop: float | None
) -> Candidate | None:
    """Set the states of quantized candidates, and return the winner: the best on val within the budget; None: no one.

    Args:
        finalists: with the costs and the accuracy of their INT8 networks.
        budget: of the search.
        teacher_val: the teacher's mAP50-95 on val.
        max_drop: largest loss against it; None: no limit.
    """
    admitted = []
    for candidate, outcome in finalists.items():
        assert outcome.int8_val is not None, candidate
        assert outcome.trained_cost is not None, candidate
        if not budget.admits(outcome.trained_cost):
            outcome.state = OVER_BUDGET
        elif max_drop is not None and not gate_passes(round(teacher_val - outcome.int8_val, 6), max_drop):
            outcome.state = LOSES_TOO_MUCH
        else:
            outcome.state = FINALIST
            admitted.append(candidate)
    winner = max(admitted, key=lambda one: (finalists[one].int8_val, -finalists[one].cost.p50_ms), default=None)
    if winner:
        finalists[winner].state = WINNER
    return winner


def none_within(costs: Mapping[Candidate, Cost], budget: Budget) -> str:
    """Return the message that no untrained candidate is within a budget."""
    close = nearest(costs, budget)
    return (
        f"no candidate is within {budget}: the nearest is {close} with {shown(costs[close])}: allow more, or add "
        "smaller candidates (imgsz, ratio, students)"
    )


def none_fits(
    finalists: Mapping[Candidate, Outcome], budget: Budget, teacher_val: float, max_drop: float | None
) -> str:
    """Return the message that no trained candidate is within the budget and accurate enough."""
    within = [one for one, found in finalists.items() if found.state == LOSES_TOO_MUCH]
    costs = {one: found.trained_cost for one, found in finalists.items() if found.trained_cost}
    close = max(within, key=lambda one: finalists[one].int8_val or 0.0) if within else nearest(costs, budget)
    val = finalists[close].int8_val or 0.0
    limit = "" if max_drop is None else f" and loses at most {max_drop:g} of val mAP50-95 against the teacher"
    advice = "allow more, or train longer" if within else "allow more, or time it again on an idle machine"
    return (
        f"no trained candidate is within {budget}{limit}: the nearest is {close} with {shown(costs[close])} and val "
        f"mAP50-95 {val:.4f}, {teacher_val - val:.4f} below the teacher: {advice} (what was trained is kept)"
    )


def rows(outcomes: Mapping[Candidate, Outcome], front: Collection[str]) -> list[dict[str, Any]]:
    """Return a row per candidate for the table, the best on top.

    Args:
        outcomes: by candidate.
        front: the names of those on the Pareto front.
    """

    def rank(candidate: Candidate) -> tuple[bool, float, float]:
        found = outcomes[candidate]
        return found.state != WINNER, -(found.accuracy or 0.0), found.cost.p50_ms

    def row(candidate: Candidate, found: Outcome) -> dict[str, Any]:
        return {
            "candidate": str(candidate),
            **asdict(candidate.network),
            "target": candidate.target,
            "state": found.state,
            **asdict(found.cost),
            "trained_p50_ms": found.trained_cost and found.trained_cost.p50_ms,
            "epochs": found.epochs,
            "val_map50_95": found.val,
            "int8_val_map50_95": found.int8_val,
            "front": str(candidate) in front,
        }

    return [row(candidate, outcomes[candidate]) for candidate in sorted(outcomes, key=rank)]


def points(outcomes: Mapping[Candidate, Outcome]) -> dict[str, tuple[float, float, float]]:
    """Return (latency in ms, mAP50-95 on val, size in MiB) of all candidates with a known accuracy, by name."""
    return {
        str(candidate): (found.cost.p50_ms, found.accuracy, found.cost.mib)
        for candidate, found in outcomes.items()
        if found.accuracy is not None
    }
