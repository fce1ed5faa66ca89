from dataclasses import replace

import pytest

from src.quantization.search import FLOAT_LAYERS, Setting, best, search

CALIBRATORS = ("minmax", "mse")
START = Setting("minmax", per_channel=True, symmetric_activations=False, float_layers=0, trained=False)


def settings_tried(max_drop: float, accuracies: dict[Setting, float]) -> list[Setting]:
    tried = search(START, CALIBRATORS, 0.8, max_drop, lambda setting: accuracies.get(setting, 0.5))
    return [one.setting for one in tried]


def test_the_first_that_holds_ends_the_search() -> None:
    mse = replace(START, calibrator="mse")
    assert settings_tried(0.01, {START: 0.79}) == [START]
    assert settings_tried(0.01, {mse: 0.795}) == [START, mse]


def test_each_step_goes_on_from_what_lost_least_and_training_comes_last() -> None:
    mse = replace(START, calibrator="mse")
    symmetric = replace(mse, symmetric_activations=True)
    assert settings_tried(0.01, {START: 0.6, mse: 0.7, symmetric: 0.75, replace(symmetric, float_layers=2): 0.76}) == [
        START,
        mse,
        replace(mse, per_channel=False),
        symmetric,
        *(replace(symmetric, float_layers=count) for count in FLOAT_LAYERS),
        replace(symmetric, trained=True),
        replace(symmetric, float_layers=2, trained=True),
    ]


def test_the_search_begins_where_the_user_stands() -> None:
    start = Setting("mse", per_channel=False, symmetric_activations=True, float_layers=4, trained=True)
    tried = settings_tried(0.01, {})
    assert tried[0] == START
    found = [one.setting for one in search(start, CALIBRATORS, 0.8, 0.01, lambda setting: 0.5)]
    assert found[0] == start
    assert {setting.float_layers for setting in found} == {4, 8, 16}
    assert all(setting.trained for setting in found)
    assert len(set(found)) == len(found)


def test_where_nothing_holds_all_is_tried_and_the_best_known() -> None:
    four = replace(START, float_layers=4)
    tried = search(START, CALIBRATORS, 0.8, 0.01, lambda setting: 0.7 if setting == four else 0.6)
    assert best(tried).setting == four
    assert best(tried).drop == pytest.approx(0.1)


def test_a_try_says_what_its_step_bought() -> None:
    accuracies = iter([0.6, 0.5, 0.65, 0.79])
    tried = search(START, CALIBRATORS, 0.8, 0.01, lambda setting: next(accuracies))
    assert [one.bought for one in tried] == pytest.approx([0.0, -0.1, 0.05, 0.14])


def test_of_equals_the_fastest_is_best() -> None:
    assert best(search(START, CALIBRATORS, 0.8, 0.01, lambda setting: 0.7)).setting == START


def test_int8_that_is_better_than_float_holds_any_budget() -> None:
    assert len(search(START, CALIBRATORS, 0.8, 0.0, lambda setting: 0.81)) == 1
