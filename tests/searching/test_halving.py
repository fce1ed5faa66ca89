from __future__ import annotations

import pytest

from src.searching.halving import Trained, halve

VALUES = {"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.5}


def test_the_best_go_on_and_train_for_more_epochs() -> None:
    seen = []

    def train(network: str, epochs: int) -> float:
        seen.append((network, epochs))
        return VALUES[network] + epochs / 100

    found = list(halve(VALUES, [1, 2, 4], 2, train))
    assert seen == [*((network, 1) for network in VALUES), ("b", 2), ("d", 2), ("b", 4)]
    assert found[-1] == {"b": Trained(4, 0.54)}, "of equal ones the first goes on"


def test_values_of_an_earlier_rung_do_not_count() -> None:
    values = {("a", 1): 0.4, ("b", 1): 0.3, ("c", 1): 0.2, ("a", 2): 0.1, ("b", 2): 0.2, ("b", 4): 0.2}
    found = list(halve("abc", [1, 2, 4], 2, lambda network, epochs: values[network, epochs]))
    assert list(found[-1]) == ["b"]


@pytest.mark.parametrize(("allowed", "rungs"), [(0, [[]]), (3, [["a", "b", "c"]]), (5, [["a", "b", "c", "d"], ["b"]])])
def test_no_training_starts_when_the_time_is_over(allowed: int, rungs: list[list[str]]) -> None:
    trained: list[str] = []

    def train(network: str, epochs: int) -> float:
        trained.append(network)
        return VALUES[network]

    found = list(halve(VALUES, [1, 2, 4], 2, train, lambda: len(trained) >= allowed))
    assert [list(outcomes) for outcomes in found] == rungs
