from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from src.distillation.predictions import Branch
from src.distillation.teacher import FrozenTeacher
from src.foundation.errors import UserError
from src.teaching.ensemble import TeacherEnsemble, average
from tests.distillation.networks import batch_of_two, network


def branch(*probabilities: float, bins: tuple[float, float] = (0.5, 0.5)) -> Branch:
    """Return a teacher's predictions at a single location: two classes, two bins for every edge."""
    scores = torch.tensor(probabilities).logit().reshape(1, 2, 1)
    boxes = torch.tensor(bins).log().repeat(4).reshape(1, 8, 1)
    return Branch(scores, boxes)


def probabilities(scores: Tensor) -> list[float]:
    return scores.sigmoid().flatten().tolist()


def test_the_mean_weights_all_teachers_equally() -> None:
    averaged = average([branch(0.8, 0.2), branch(0.2, 0.1)], by_confidence=False)
    assert probabilities(averaged.scores) == pytest.approx([0.5, 0.15])


def test_confident_teachers_have_a_larger_weight() -> None:
    # Weights 0.8 and 0.2: the best scores at the location.
    averaged = average([branch(0.8, 0.2, bins=(0.9, 0.1)), branch(0.2, 0.1, bins=(0.4, 0.6))], by_confidence=True)
    assert probabilities(averaged.scores) == pytest.approx([0.68, 0.18])
    assert averaged.boxes.reshape(4, 2)[0].tolist() == pytest.approx([log(0.8), log(0.2)], rel=1e-4)


def test_the_same_teacher_twice_predicts_like_one() -> None:
    alone = FrozenTeacher(network(0))
    images = batch_of_two()["img"]
    for by_confidence in (True, False):
        together = TeacherEnsemble([alone, FrozenTeacher(network(0))], by_confidence=by_confidence)(images)
        expected = alone(images).branches["one2many"]
        scores = together.branches["one2many"].scores.sigmoid()
        torch.testing.assert_close(scores, expected.scores.sigmoid(), rtol=0, atol=1e-3)
        distribution = together.branches["one2many"].boxes.unflatten(1, (4, -1)).softmax(dim=2)
        torch.testing.assert_close(distribution, expected.boxes.unflatten(1, (4, -1)).softmax(dim=2), rtol=0, atol=1e-3)


def test_probabilities_of_zero_and_one_stay_finite() -> None:
    averaged = average([branch(1.0, 0.0, bins=(1.0, 0.0))] * 2, by_confidence=True)
    assert torch.isfinite(averaged.scores).all()
    assert torch.isfinite(averaged.boxes).all()


def test_heads_that_cannot_be_averaged_are_refused() -> None:
    teachers = [FrozenTeacher(network(0)), FrozenTeacher(network(0, "yolo26n.yaml"))]
    with pytest.raises(
        UserError,
        match=r"same strides and number of bins, .* got 1 bins at strides 8/16/32 and 16 bins at strides 8/16/32",
    ):
        TeacherEnsemble(teachers, by_confidence=False)
