from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from src.distillation.distillation_loss import DistillationLoss, distillation_from
from src.distillation.losses.localization import localization_divergence
from src.distillation.losses.response import response_divergence
from src.distillation.objective import Objective
from src.distillation.soft_loss import SURE
from src.distillation.teacher import FrozenTeacher
from src.foundation.errors import UserError
from tests.distillation.networks import batch_of_two, in_training, network


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    return batch_of_two()


def total(
    batch: dict[str, Tensor], temperature: float = 2.0, alpha: float = 0.5, **given: float
) -> tuple[float, dict[str, Tensor], float]:
    """Return the total, its parts, and the hard loss alone, of a student with another network as teacher."""
    student = network(0).train()
    objective = Objective(temperature, alpha, given)
    loss = DistillationLoss(in_training(student), FrozenTeacher(network(1, "yolov8s.yaml")), objective)
    predictions = student(batch["img"])
    value, parts = loss(predictions, batch)
    return value.sum().item(), parts, student.init_criterion()(predictions, batch)[0].sum().item()


def test_the_total_is_alpha_soft_t_squared_plus_the_rest_hard(batch: dict[str, Tensor]) -> None:
    value, parts, hard = total(batch, temperature=3.0, alpha=0.7, response=2.0, localization=0.5)
    soft = 2.0 * parts["response"].item() + 0.5 * parts["localization"].item()
    assert value == pytest.approx(0.7 * soft * 9 * 2 + 0.3 * hard, rel=1e-5)  # two images


def test_the_temperature_does_not_change_feature_losses(batch: dict[str, Tensor]) -> None:
    cool, warm = (total(batch, temperature=T, feature=6.0, channel_wise=0.5) for T in (1.0, 3.0))
    soft = 6.0 * cool[1]["feature"].item() + 0.5 * cool[1]["channel_wise"].item()
    assert cool[0] == pytest.approx(0.5 * soft * 2 + 0.5 * cool[2], rel=1e-5)
    assert warm[0] == pytest.approx(cool[0], rel=1e-6)


def test_locations_are_weighted_by_the_teachers_confidence(batch: dict[str, Tensor]) -> None:
    student, teacher = network(0).train(), FrozenTeacher(network(1, "yolov8s.yaml"))
    _, parts, _ = total(batch, response=1.0, localization=1.0)
    predictions, targets = student(batch["img"]), teacher(batch["img"]).branches["one2many"]
    importance = targets.scores.sigmoid().amax(dim=1)
    assert 0 < (importance < SURE).float().mean() < 1, "some locations are compared, some are not"
    divergence = response_divergence(predictions["scores"], targets.scores, 2.0)
    expected = (divergence * importance).sum() / importance.sum().clamp(min=1)
    torch.testing.assert_close(parts["response"], expected, rtol=1e-4, atol=1e-7)
    sure = torch.where(importance < SURE, 0.0, importance)
    divergence = localization_divergence(predictions["boxes"], targets.boxes, 2.0)
    expected = (divergence * sure).sum() / sure.sum().clamp(min=1)
    torch.testing.assert_close(parts["localization"], expected, rtol=1e-4, atol=1e-7)


def test_only_losses_with_a_weight_are_computed(batch: dict[str, Tensor]) -> None:
    _, parts, _ = total(batch, response=1.0)
    assert {"response", "localization", "feature", "channel_wise"} & set(parts) == {"response"}


def test_a_student_equal_to_its_teacher_has_no_soft_loss(batch: dict[str, Tensor]) -> None:
    student = network(0).eval()
    objective = Objective(2.0, 1.0, {"response": 1.0, "localization": 1.0, "channel_wise": 1.0})
    loss = DistillationLoss(in_training(student), FrozenTeacher(network(0)), objective)
    value, _ = loss(student(batch["img"])[1], batch)
    assert value.item() == pytest.approx(0, abs=1e-4)  # the teacher's predictions are rounded to half precision


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        pytest.param(torch.float32, 2e-3, id="float32"),
        pytest.param(torch.bfloat16, 0.1, id="bfloat16"),  # 8 bits of a logit of -8 are steps of 0.03
    ],
)
def test_folding_and_lower_precision_change_predictions_little(
    batch: dict[str, Tensor], dtype: torch.dtype, tolerance: float
) -> None:
    plain = network(1)
    for module in plain.modules():  # statistics that folding has to take into account
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    with torch.no_grad():
        expected = plain.eval()(batch["img"])[1]
    predictions = FrozenTeacher(plain, dtype)(batch["img"])
    torch.testing.assert_close(
        predictions.branches["one2many"].scores, expected["scores"], rtol=tolerance, atol=tolerance
    )
    for level, feature in enumerate(predictions.features):
        torch.testing.assert_close(feature, expected["feats"][level], rtol=tolerance, atol=tolerance)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in plain.modules()), (
        "the given network does not change"
    )


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        pytest.param("yolo26n.yaml", "yolov8n.yaml", "and the teacher's head has none", id="teacher without DFL"),
        pytest.param("yolov8n.yaml", "yolo26n.yaml", "and the student's head has none", id="student without DFL"),
    ],
)
def test_heads_without_box_distributions_are_refused_for_localization(teacher: str, student: str, message: str) -> None:
    make = distillation_from(
        FrozenTeacher(network(0, teacher)), Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0})
    )
    with pytest.raises(UserError, match=f"{message}.*such as heads_overlap$"):
        make(in_training(network(0, student)))


@pytest.mark.parametrize("architecture", ["yolov8n-p2.yaml", "yolov8n-p6.yaml"])
def test_heads_with_other_strides_are_refused(architecture: str) -> None:
    make = distillation_from(FrozenTeacher(network(0)), Objective(1.0, 0.5, {"response": 1.0}))
    with pytest.raises(UserError, match=r"has the strides .* px, the teacher's 8, 16, 32 px: choose architectures"):
        make(in_training(network(0, architecture)))


@pytest.mark.parametrize("teacher", ["yolov8s.yaml", "yolo11n.yaml", "yolo26n.yaml"])
@pytest.mark.parametrize("student", ["yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml"])
def test_scores_boxes_and_features_of_all_families_can_be_compared(
    batch: dict[str, Tensor], teacher: str, student: str
) -> None:
    learner = network(0, student).train()
    weights = {"response": 1.0, "overlap": 1.0, "feature": 6.0, "channel_wise": 1.0}
    objective = Objective(1.0, 0.5, weights)
    make: Any = distillation_from(FrozenTeacher(network(1, teacher)), objective)
    value, parts = make(in_training(learner))(learner(batch["img"]), batch)
    value.sum().backward()
    assert all(parts[name] > 0 for name in weights)
    assert learner.model[0].conv.weight.grad.abs().sum() > 0
