from __future__ import annotations

from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from src import PROJECT
from src.config.composition import register, typed
from src.config.distill import Distill
from src.distillation.distillation_loss import HardLoss
from src.foundation.errors import SettingError
from src.trainings.withholding import withheld_indices, withholding
from tests.distillation.networks import in_training, network

NAMES = ["ace", "two", "6"]


def withheld(*overrides: str) -> list[int]:
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        params: Distill = typed("distill", compose("distill", list(overrides)))
    return withheld_indices(params, NAMES)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param([], [], id="the default"),
        pytest.param(["withheld_classes=[two]"], [1], id="one"),
        pytest.param(["withheld_classes=[6,ace]"], [0, 2], id="a number, and another order"),
        pytest.param(["withheld_classes=[ace]", "alpha=0"], [0], id="the control: alpha 0"),
        pytest.param(["withheld_classes=[ace]", "teaching=hard"], [0], id="the control: hard"),
        pytest.param(
            ["withheld_classes=[ace]", "teaching=hard", "distillation=channel_wise"], [0], id="losses that are not used"
        ),
        pytest.param(["withheld_classes=[ace]", "distillation=heads_channel_wise"], [0], id="scores among others"),
    ],
)
def test_withheld_classes_are_found_by_name(overrides: list[str], expected: list[int]) -> None:
    assert withheld(*overrides) == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["withheld_classes=[acee,two,7]"],
            r"must name classes of the dataset \(ace, two, 6\), got acee, 7$",
            id="unknown, all in one line",
        ),
        pytest.param(["withheld_classes=[two,ace,6]"], "must leave a class whose labels the student gets", id="all"),
        pytest.param(
            ["withheld_classes=[ace]", "distillation=channel_wise"],
            "needs soft targets for class scores: give distillation.response a weight above 0",
            id="nothing teaches the scores",
        ),
        pytest.param(
            ["withheld_classes=[ace]", "teaching=mean_teacher"], "teaching=mean_teacher has none", id="no teacher knows"
        ),
        pytest.param(
            ["withheld_classes=[ace]", "teaching=predictions"],
            "cannot be used with teaching=predictions, whose images without predicted boxes keep their labels",
            id="labels among the soft targets",
        ),
    ],
)
def test_withheld_classes_that_make_no_sense_are_refused_in_a_line(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message) as raised:
        withheld(*overrides)
    assert raised.value.key == "withheld_classes"
    assert "\n" not in str(raised.value)


def test_without_withheld_classes_the_loss_is_the_same_object() -> None:
    def make(training: Any) -> Any:
        raise AssertionError("not called")

    assert withholding([], make) is make
    assert withholding([], None) is None


def test_labels_alone_are_withheld_too() -> None:
    make = withholding([1], None)
    assert make is not None
    loss = make(in_training(network(0)))
    assert isinstance(loss, HardLoss)
    assert loss.hard.class_weights.flatten().tolist() == [1.0, 0.0]
