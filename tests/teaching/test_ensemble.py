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
    """Return what a teacher says at a single place: two classes, two bins for every edge."""
    scores = torch.tensor(probabilities).logit().reshape(1, 2, 1)
    boxes = torch.tensor(bins).log().repeat(4).reshape(1, 8, 1)
    return Branch(scores, boxes)


def probabilities(scores: Tensor) -> list[float]:
    return scores.sigmoid().flatten().tolist()


def test_the_mean_counts_all_the_same() -> None:
    said = average([branch(0.8, 0.2), branch(0.2, 0.1)], by_confidence=False)
    assert probabilities(said.scores) == pytest.approx([0.5, 0.15])


def test_confidence_counts_who_is_sure() -> None:
    # Weights 0.8 and 0.2: the best scores at the place.
    said = average([branch(0.8, 0.2, bins=(0.9, 0.1)), branch(0.2, 0.1, bins=(0.4, 0.6))], by_confidence=True)
    assert probabilities(said.scores) == pytest.approx([0.68, 0.18])
    assert said.boxes.reshape(4, 2)[0].tolist() == pytest.approx([log(0.8), log(0.2)], rel=1e-4)


def test_a_teacher_twice_says_what_it_says_once() -> None:
    alone = FrozenTeacher(network(0))
    images = batch_of_two()["img"]
    for by_confidence in (True, False):
        together = TeacherEnsemble([alone, FrozenTeacher(network(0))], by_confidence=by_confidence)(images)
        expected = alone(images).branches["one2many"]
        said = together.branches["one2many"].scores.sigmoid()
        torch.testing.assert_close(said, expected.scores.sigmoid(), rtol=0, atol=1e-3)
        distribution = together.branches["one2many"].boxes.unflatten(1, (4, -1)).softmax(dim=2)
        torch.testing.assert_close(distribution, expected.boxes.unflatten(1, (4, -1)).softmax(dim=2), rtol=0, atol=1e-3)


def test_certainty_stays_finite() -> None:
    said = average([branch(1.0, 0.0, bins=(1.0, 0.0))] * 2, by_confidence=True)
    assert torch.isfinite(said.scores).all()
    assert torch.isfinite(said.boxes).all()


def test_heads_that_have_no_average_are_refused() -> None:
    teachers = [FrozenTeacher(network(0)), FrozenTeacher(network(0, "yolo26n.yaml"))]
    with pytest.raises(UserError, match=r"same number of bins, .* got 1 and 16 bins"):
        TeacherEnsemble(teachers, by_confidence=False)
