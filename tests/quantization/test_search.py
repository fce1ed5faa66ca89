import pytest

from src.quantization.search import FLOAT_LAYERS, Setting, best, search

CALIBRATORS = ("minmax", "mse")


def settings_tried(max_drop: float, accuracies: dict[Setting, float]) -> list[Setting]:
    return [t.setting for t in search(CALIBRATORS, 0.8, max_drop, lambda setting: accuracies.get(setting, 0.5))]


def test_the_first_that_holds_ends_the_search() -> None:
    assert settings_tried(0.01, {Setting("minmax", 0): 0.79}) == [Setting("minmax", 0)]
    assert settings_tried(0.01, {Setting("mse", 0): 0.795}) == [Setting("minmax", 0), Setting("mse", 0)]


def test_layers_in_float_go_with_the_calibrator_that_lost_least() -> None:
    accuracies = {Setting("minmax", 0): 0.6, Setting("mse", 0): 0.7, Setting("mse", 2): 0.8}
    assert settings_tried(0.01, accuracies) == [
        Setting("minmax", 0),
        Setting("mse", 0),
        Setting("mse", 1),
        Setting("mse", 2),
    ]


def test_where_nothing_holds_all_is_tried_and_the_best_known() -> None:
    tried = search(CALIBRATORS, 0.8, 0.01, lambda setting: 0.7 if setting == Setting("minmax", 4) else 0.6)
    assert len(tried) == len(CALIBRATORS) + len(FLOAT_LAYERS)
    assert best(tried).setting == Setting("minmax", 4)
    assert best(tried).drop == pytest.approx(0.1)


def test_of_equals_the_fastest_is_best() -> None:
    assert best(search(CALIBRATORS, 0.8, 0.01, lambda setting: 0.7)).setting == Setting("minmax", 0)


def test_int8_that_is_better_than_float_holds_any_budget() -> None:
    assert len(search(CALIBRATORS, 0.8, 0.0, lambda setting: 0.81)) == 1
