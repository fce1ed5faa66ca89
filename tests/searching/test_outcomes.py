from __future__ import annotations

import pytest

from src.searching.budget import Budget, Cost
from src.searching.candidates import Candidate, Network
from src.searching.outcomes import (
    FINALIST,
    LOSES_TOO_MUCH,
    NOT_TRAINED,
    OVER_BUDGET,
    SLOWER_TARGET,
    WINNER,
    Outcome,
    choose,
    entering,
    none_fits,
    none_within,
    points,
    rows,
)

SMALL, LARGE = Network("yolov8n", None, 128, 0.5), Network("yolov8n", None, 224, 0.0)


def cost(ms: float, mib: float = 1.0) -> Cost:
    return Cost(ms, 2 * ms, mib)


def candidate(network: Network, target: str = "onnxruntime") -> Candidate:
    return Candidate(network, target)


def finalist(ms: float, int8_val: float, mib: float = 1.0) -> Outcome:
    return Outcome(cost(ms, mib), cost(ms, mib), epochs=12, val=int8_val + 0.01, int8_val=int8_val)


def test_what_exceeds_a_limit_does_not_enter_and_of_a_network_only_its_fastest_target() -> None:
    costs = {
        candidate(SMALL): cost(2.0),
        candidate(SMALL, "openvino"): cost(1.0),
        candidate(LARGE): cost(5.0),
        candidate(LARGE, "openvino"): cost(5.1),
    }
    outcomes, entered = entering(costs, Budget(ms=5.0, mib=None))
    assert entered == [candidate(SMALL, "openvino"), candidate(LARGE)]
    assert [found.state for found in outcomes.values()] == [SLOWER_TARGET, NOT_TRAINED, NOT_TRAINED, OVER_BUDGET]


@pytest.mark.parametrize(
    ("budget", "entered"), [(Budget(None, 1.5), 1), (Budget(2.0, 1.5), 0), (Budget(4.0, 1.5), 1), (Budget(4.0, 9), 2)]
)
def test_both_limits_hold(budget: Budget, entered: int) -> None:
    costs = {candidate(SMALL): cost(3.0, 1.0), candidate(LARGE): cost(4.0, 2.0)}
    assert len(entering(costs, budget)[1]) == entered


def test_the_best_on_val_wins_within_the_budget_of_the_trained_network() -> None:
    made = {candidate(SMALL): finalist(1.0, 0.5), candidate(LARGE): finalist(5.5, 0.9)}
    assert choose(made, Budget(5.0, None), 0.8, None) == candidate(SMALL)
    assert [found.state for found in made.values()] == [WINNER, OVER_BUDGET]
    made[candidate(LARGE)].trained_cost = cost(5.0)
    assert choose(made, Budget(5.0, None), 0.8, None) == candidate(LARGE)
    assert [found.state for found in made.values()] == [FINALIST, WINNER]


def test_of_equally_accurate_ones_the_faster_wins() -> None:
    made = {candidate(LARGE): finalist(3.0, 0.5), candidate(SMALL): finalist(1.0, 0.5)}
    assert choose(made, Budget(5.0, None), 0.8, None) == candidate(SMALL)


def test_a_loss_against_the_teacher_is_allowed_up_to_its_limit() -> None:
    made = {candidate(SMALL): finalist(1.0, 0.5), candidate(LARGE): finalist(2.0, 0.7)}
    budget = Budget(5.0, None)
    assert choose(made, budget, 0.8, max_drop=0.1) == candidate(LARGE)
    assert made[candidate(SMALL)].state == LOSES_TOO_MUCH
    assert choose(made, budget, 0.8, max_drop=0.099) is None
    message = none_fits(made, budget, 0.8, 0.099)
    assert f"loses at most 0.099 of val mAP50-95 against the teacher: the nearest is {candidate(LARGE)}" in message
    assert "0.7000, 0.1000 below the teacher: allow more, or train longer" in message


def test_the_nearest_to_the_budget_is_named() -> None:
    costs = {candidate(SMALL): cost(3.0, 4.5), candidate(LARGE): cost(4.0, 1.0)}
    message = none_within(costs, Budget(1.0, 1.0))
    assert f"no candidate is within 1 ms and 1 MiB: the nearest is {candidate(LARGE)} with 4.00 ms" in message
    made = {one: finalist(found.p50_ms, 0.5, found.mib) for one, found in costs.items()}
    assert choose(made, Budget(2.0, None), 0.8, None) is None
    assert f"the nearest is {candidate(SMALL)} with 3.00 ms" in none_fits(made, Budget(2.0, None), 0.8, None)


def test_the_table_has_the_winner_on_top_and_the_picture_what_has_an_accuracy() -> None:
    outcomes = {
        candidate(SMALL, "openvino"): Outcome(cost(0.9)),
        candidate(SMALL): finalist(1.0, 0.5),
        candidate(LARGE): Outcome(cost(2.0), epochs=4, val=0.6),
    }
    choose({candidate(SMALL): outcomes[candidate(SMALL)]}, Budget(5.0, None), 0.8, None)
    found = rows(outcomes, [str(candidate(SMALL))])
    assert [row["state"] for row in found] == [WINNER, NOT_TRAINED, NOT_TRAINED]
    assert [row["front"] for row in found] == [True, False, False]
    assert found[0]["trained_p50_ms"] == 1.0
    assert points(outcomes) == {str(candidate(SMALL)): (1.0, 0.5, 1.0), str(candidate(LARGE)): (2.0, 0.6, 1.0)}
