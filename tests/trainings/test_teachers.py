from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.distillation.objective import Objective
from src.distillation.predictions import Predictions
from src.distillation.teacher import FrozenTeacher
from src.teaching.ensemble import TeacherEnsemble
from src.trainings import teachers as subject
from src.trainings.teachers import Teachers
from tests.distillation.networks import batch_of_two, network

IMAGES = batch_of_two()["img"]
OBJECTIVE = Objective(1.0, 0.5, {"response": 1.0})


class Counted(FrozenTeacher):
    """A teacher that counts the answers of all."""

    answers = 0

    def __call__(self, images: Tensor) -> Predictions:
        Counted.answers += 1
        return super().__call__(images)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "teacher.pt"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize(
    ("change", "answers"),
    [
        pytest.param(None, 2, id="nothing"),
        pytest.param("code", 4, id="code"),
        pytest.param("version", 4, id="version of ultralytics"),
        pytest.param("precision", 4, id="precision"),
        pytest.param("weights", 4, id="weights"),
        pytest.param("weighting", 4, id="how several are averaged"),
    ],
)
def test_an_answer_is_computed_again_after_a_change_of(
    change: str | None, answers: int, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = network(1)
    monkeypatch.setattr(Counted, "answers", 0)
    monkeypatch.setattr(subject, "FrozenTeacher", Counted)
    monkeypatch.setattr(subject, "load_detector", lambda path: detector)
    teachers = Teachers(OBJECTIVE, tuple(detector.names.values()), tmp_path / "cache", 2**30, torch.float32)
    mean, by_confidence = (partial(TeacherEnsemble, by_confidence=chosen) for chosen in (False, True))
    teachers.frozen(weights, weights, average=mean)(IMAGES)
    changes: dict[str | None, Callable[[], object]] = {
        None: lambda: None,
        "code": lambda: monkeypatch.setattr(subject, "code_digest", lambda *modules: "other code"),
        "version": lambda: monkeypatch.setattr(subject.ultralytics, "__version__", "0"),
        "weights": lambda: weights.write_bytes(b"other weights"),
    }
    changes.get(change, lambda: None)()
    if change == "precision":
        teachers = replace(teachers, dtype=torch.bfloat16)
    # A new partial: the key must not depend on the object.
    again = by_confidence if change == "weighting" else partial(TeacherEnsemble, by_confidence=False)
    teachers.frozen(weights, weights, average=again)(IMAGES)
    assert Counted.answers == answers
