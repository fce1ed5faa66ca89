from __future__ import annotations

from math import exp

import pytest
import torch

from src.distillation.objective import Objective
from src.distillation.predictions import Predictions
from src.foundation.errors import UserError
from src.teaching.label_smoothing import SmoothedLoss, smoothed
from src.teaching.mean_teacher import distillation_from_moving_average
from src.teaching.mutual import mutual_learning
from tests.distillation.networks import batch_of_two, in_training, network

OBJECTIVE = Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0})


def test_a_moving_average_predicts_with_its_current_weights() -> None:
    student, batch = network(0).train(), batch_of_two()
    loss = distillation_from_moving_average(OBJECTIVE)(in_training(student))
    loss(student(batch["img"]), batch)
    first = student.model[0].conv.weight.detach().clone()
    with torch.no_grad():
        student.model[0].conv.weight.add_(1)
    scores = loss.teacher(batch["img"]).branches["one2many"].scores
    # The first two steps have equal weights: the average is the mean of old and new weights.
    averaged = loss.teacher.averaged.module
    torch.testing.assert_close(averaged.model[0].conv.weight, first + 0.5)
    torch.testing.assert_close(scores, averaged.train()(batch["img"])["scores"])
    assert not scores.requires_grad


@pytest.mark.parametrize(("epochs_done", "decay"), [(0, 0.99), (2, 0.999)], ids=["ramping up", "later"])
def test_the_decay_of_a_moving_average_rises_after_the_ramp_up(epochs_done: int, decay: float) -> None:
    student, images = network(0).train(), batch_of_two()["img"]
    loss = distillation_from_moving_average(OBJECTIVE)(in_training(student))
    loss.updates = epochs_done  # of 4
    loss.teacher.averaged.n_averaged.fill_(10**6)
    before = student.model[0].conv.weight.detach().clone()
    with torch.no_grad():
        student.model[0].conv.weight.add_(1)
    loss.teacher(images)
    torch.testing.assert_close(loss.teacher.averaged.module.model[0].conv.weight, before + 1 - decay)


def test_the_soft_share_of_a_moving_average_is_ramped_up() -> None:
    student, batch = network(0).train(), batch_of_two()
    loss = distillation_from_moving_average(OBJECTIVE)(in_training(student))
    predictions = student(batch["img"])
    hard = student.init_criterion()(predictions, batch)[0].sum().item()
    for epochs_done, alpha in ((0, 0.5 * exp(-5)), (1, 0.5 * exp(-5 / 256)), (2, 0.5)):  # of 4; the ramp ends at 1.07
        loss.updates = epochs_done
        total, parts = loss(predictions, batch)
        soft = 2 * (parts["response"] + parts["localization"]).item()  # two images
        assert total.sum().item() == pytest.approx(alpha * soft + (1 - alpha) * hard, rel=1e-4)


def test_peers_learn_from_each_other_without_shared_gradients() -> None:
    student, batch = network(0).train(), batch_of_two()
    loss = mutual_learning("yolov8n.yaml", OBJECTIVE)(in_training(student))
    predictions = student(batch["img"])
    total, parts = loss(predictions, batch)
    assert {"box_loss", "response", "localization"} <= set(parts)
    total.sum().backward()
    peer_gradient = loss.learned["peer"].model[0].conv.weight.grad
    assert peer_gradient.abs().sum() > 0
    own = student.model[0].conv.weight.grad.clone()
    assert own.abs().sum() > 0
    # The student's gradient comes from its own loss only, with the peer's predictions held fixed.
    student.zero_grad()
    targets = Predictions.of(loss.peer(batch["img"])).map(torch.Tensor.detach)
    predictions = student(batch["img"])
    again, _ = loss.soft(Predictions.of(predictions), targets)
    (0.5 * again * 2 + 0.5 * student.init_criterion()(predictions, batch)[0].sum()).backward()
    torch.testing.assert_close(student.model[0].conv.weight.grad, own, rtol=1e-3, atol=1e-4)


def test_both_end_to_end_heads_are_told_the_epoch() -> None:
    loss = mutual_learning("yolo26n.yaml", Objective(1.0, 0.5, {"response": 1.0}))(
        in_training(network(0, "yolo26n.yaml"))
    )
    at_first = loss.peer_hard.o2m
    loss.updates = 1  # as after a training was resumed
    loss.update()
    assert loss.hard.updates == loss.peer_hard.updates == 2
    assert loss.hard.o2m == loss.peer_hard.o2m < at_first


def test_a_peer_has_other_initial_weights() -> None:
    student = network(0)
    peer = mutual_learning("yolov8n.yaml", OBJECTIVE)(in_training(student)).learned["peer"]
    assert not torch.equal(peer.model[0].conv.weight, student.model[0].conv.weight)


def test_smoothed_targets_keep_their_sum() -> None:
    targets = torch.tensor([[0.8, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.9 * 0.8 + 0.02, 0.02, 0.02, 0.02], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(smoothed(targets, 0.1), expected)
    torch.testing.assert_close(smoothed(targets, 0.1).sum(dim=-1), targets.sum(dim=-1))


def test_smoothing_changes_only_the_class_loss() -> None:
    student, batch = network(0).train(), batch_of_two()
    predictions = student(batch["img"])
    _, plain = student.init_criterion()(predictions, batch)
    _, smooth = SmoothedLoss(in_training(student), 0.3)(predictions, batch)
    assert smooth["cls_loss"] != plain["cls_loss"]
    assert smooth["box_loss"] == plain["box_loss"]
    assert smooth["dfl_loss"] == plain["dfl_loss"]


def test_end_to_end_heads_are_not_smoothed() -> None:
    with pytest.raises(UserError, match="smooths labels only for dense heads"):
        SmoothedLoss(in_training(network(0, "yolo26n.yaml")), 0.1)
