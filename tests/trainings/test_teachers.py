from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.distillation.objective import Objective
from src.distillation.predictions import Predictions
from src.distillation.teacher import FrozenTeacher
from src.trainings import teachers as subject
from src.trainings.teachers import Teachers
from tests.distillation.networks import batch_of_two, network

IMAGES = batch_of_two()["img"]
OBJECTIVE = Objective(1.0, 0.5, {"response": 1.0})


class Counted(FrozenTeacher):
    """A teacher that counts its answers."""

    answers = 0

    def __call__(self, images: Tensor) -> Predictions:
        self.answers += 1
        return super().__call__(images)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "teacher.pt"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize(
    ("change", "answers"),
    [
        pytest.param(None, 1, id="nothing"),
        pytest.param("code", 2, id="code"),
        pytest.param("version", 2, id="version of ultralytics"),
        pytest.param("precision", 2, id="precision"),
        pytest.param("weights", 2, id="weights"),
        pytest.param("combination", 2, id="how several are combined"),
    ],
)
def test_an_answer_is_computed_again_after_a_change_of(
    change: str | None, answers: int, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = Teachers(OBJECTIVE, ("a",), tmp_path / "cache", 2**30, torch.float32)
    teacher = Counted(network(1))
    teachers.with_cache(teacher, [weights], "mean")(IMAGES)
    changes: dict[str | None, Callable[[], object]] = {
        None: lambda: None,
        "code": lambda: monkeypatch.setattr(subject, "code_digest", lambda *modules: "other code"),
        "version": lambda: monkeypatch.setattr(subject.ultralytics, "__version__", "0"),
        "weights": lambda: weights.write_bytes(b"other weights"),
    }
    changes.get(change, lambda: None)()
    if change == "precision":
        teachers = replace(teachers, dtype=torch.bfloat16)
    teachers.with_cache(teacher, [weights], "confidence" if change == "combination" else "mean")(IMAGES)
    assert teacher.answers == answers
