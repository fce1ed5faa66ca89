from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from src.distillation.localization import localization_divergence
from src.distillation.loss import DistillationLoss, distillation_from
from src.distillation.response import response_divergence
from src.distillation.teacher import Teacher
from src.errors import UserError

NAMES = ("cat", "dog")


def network(seed: int, architecture: str = "yolov8n.yaml", names: tuple[str, ...] = NAMES) -> DetectionModel:
    torch.manual_seed(seed)
    built = DetectionModel(architecture, nc=len(names), verbose=False)
    built.names = dict(enumerate(names))
    built.args = get_cfg()
    return built


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {
        "img": torch.rand(2, 3, 64, 64, generator=generator),
        "batch_idx": torch.tensor([0.0, 1.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [0.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.3, 0.2], [0.7, 0.6, 0.5, 0.5]]),
    }


def total(batch: dict[str, Tensor], **how: float) -> tuple[float, dict[str, Tensor], float]:
    """Return the total, its parts, and the hard loss alone, of a student and another network as teacher."""
    student = network(0).train()
    settings: Any = {"temperature": 2.0, "alpha": 0.5, "response": 1.0, "localization": 1.0, **how}
    loss = DistillationLoss(student, Teacher(network(1), NAMES), **settings)
    predictions = student(batch["img"])
    value, parts = loss(predictions, batch)
    return value.sum().item(), parts, student.init_criterion()(predictions, batch)[0].sum().item()


def test_total_is_alpha_soft_t_squared_plus_the_rest_hard(batch: dict[str, Tensor]) -> None:
    value, parts, hard = total(batch, temperature=3.0, alpha=0.7, response=2.0, localization=0.5)
    soft = 2.0 * parts["response"].item() + 0.5 * parts["localization"].item()
    assert value == pytest.approx(0.7 * soft * 9 * 2 + 0.3 * hard, rel=1e-5)  # two images


def test_places_count_as_much_as_the_teacher_is_sure(batch: dict[str, Tensor]) -> None:
    student, teacher = network(0).train(), network(1).eval()
    _, parts, _ = total(batch)
    said, seen = student(batch["img"]), teacher(batch["img"])[1]
    weights = seen["scores"].sigmoid().amax(dim=1)
    for name, divergence, key in (
        ("response", response_divergence, "scores"),
        ("localization", localization_divergence, "boxes"),
    ):
        at_places = divergence(said[key], seen[key], 2.0)
        expected = (at_places * weights).sum() / weights.sum().clamp(min=1)
        torch.testing.assert_close(parts[name], expected, rtol=1e-4, atol=1e-7)


def test_a_weight_of_zero_is_not_computed(batch: dict[str, Tensor]) -> None:
    _, parts, _ = total(batch, localization=0.0)
    assert "response" in parts
    assert "localization" not in parts


def test_a_student_like_its_teacher_has_no_soft_loss(batch: dict[str, Tensor]) -> None:
    student = network(0).eval()
    loss = DistillationLoss(
        student, Teacher(network(0), NAMES), temperature=2.0, alpha=1.0, response=1.0, localization=1.0
    )
    value, _ = loss(student(batch["img"])[1], batch)
    assert value.item() == pytest.approx(0, abs=1e-5)


def test_other_classes_are_refused() -> None:
    with pytest.raises(UserError, match="knows the classes cat, dog; the dataset has cat, bird"):
        Teacher(network(0), ("cat", "bird"))


def test_heads_without_box_distributions_are_refused() -> None:
    with pytest.raises(UserError, match="teacher's head has no DFL"):
        Teacher(network(0, "yolo26n.yaml"), NAMES)
    make = distillation_from(network(0), NAMES, temperature=1.0, alpha=0.5, response=1.0, localization=1.0)
    assert make is not None
    with pytest.raises(UserError, match="student's head has no DFL"):
        make(network(0, "yolo26n.yaml"))


def test_alpha_zero_needs_no_criterion_of_ours() -> None:
    assert distillation_from(network(0), NAMES, temperature=1.0, alpha=0.0, response=1.0, localization=1.0) is None
