from dataclasses import replace
from typing import Any

import pytest

from src.quantization.ranges.calibrators import CALIBRATORS
from src.quantization.search import FLOAT_LAYERS, Candidate, best, search
from tests.quantization.networks import SETTING

START = Candidate(SETTING, trained=False)


def varied(candidate: Candidate, *, trained: bool | None = None, **changes: Any) -> Candidate:
    setting = replace(candidate.setting, **changes)
    return Candidate(setting, candidate.trained if trained is None else trained)


MSE = varied(START, calibrator="mse")


def candidates_tried(max_drop: float, accuracies: dict[Candidate, float]) -> list[Candidate]:
    tried = search(START, 0.8, max_drop, lambda candidate: accuracies.get(candidate, 0.5))
    return [one.candidate for one in tried]


def test_the_first_try_within_the_budget_ends_the_search() -> None:
    second = varied(START, calibrator="moving_average")
    assert candidates_tried(0.01, {START: 0.79}) == [START]
    assert candidates_tried(0.01, {second: 0.795}) == [START, second]


def test_each_step_starts_from_the_best_try_and_training_comes_last() -> None:
    symmetric = varied(MSE, symmetric_activations=True)
    two_in_float = varied(symmetric, float_layers=2)
    accuracies = {START: 0.6, MSE: 0.7, symmetric: 0.75, two_in_float: 0.76}
    assert candidates_tried(0.01, accuracies) == [
        START,
        *(varied(START, calibrator=name) for name in CALIBRATORS if name != "minmax"),
        varied(MSE, per_channel=False),
        symmetric,
        *(varied(symmetric, float_layers=count) for count in FLOAT_LAYERS),
        varied(symmetric, trained=True),
        varied(two_in_float, trained=True),
    ]


def test_one_scale_per_channel_comes_with_symmetric_weights() -> None:
    start = varied(START, per_channel=False, symmetric_weights=False)
    tried = [one.candidate.setting for one in search(start, 0.8, 0.01, lambda candidate: 0.5)]
    assert {setting.symmetric_weights for setting in tried if setting.per_channel} == {True}
    assert {setting.symmetric_weights for setting in tried if not setting.per_channel} == {False}


def test_the_search_starts_at_the_users_setting() -> None:
    start = varied(START, calibrator="mse", per_channel=False, symmetric_activations=True, float_layers=4, trained=True)
    found = [one.candidate for one in search(start, 0.8, 0.01, lambda candidate: 0.5)]
    assert found[0] == start
    assert {candidate.setting.float_layers for candidate in found} == {4, 8, 16}
    assert all(candidate.trained for candidate in found)
    assert len(set(found)) == len(found)


def test_without_a_try_within_the_budget_all_are_tried() -> None:
    four = varied(START, float_layers=4)
    tried = search(START, 0.8, 0.01, lambda candidate: 0.7 if candidate == four else 0.6)
    assert best(tried).candidate == four
    assert [one.gain for one in tried[:2]] == [0.0, 0.0]
    assert next(one.gain for one in tried if one.candidate == four) == pytest.approx(0.1)
    assert all(one.drop == pytest.approx(0.8 - one.map50_95) for one in tried)


def test_of_equal_tries_the_fastest_is_best() -> None:
    assert best(search(START, 0.8, 0.01, lambda candidate: 0.7)).candidate == START


def test_int8_that_is_better_than_float_meets_any_budget() -> None:
    assert len(search(START, 0.8, 0.0, lambda candidate: 0.81)) == 1
