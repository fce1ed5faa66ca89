from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.distillation.distillation_loss import DistillationLoss, HardLoss, distillation_from
from src.distillation.objective import Objective
from src.distillation.predictions import Predictions
from src.distillation.teacher import FrozenTeacher
from src.distillation.withheld_labels import told_alone
from src.teaching.label_smoothing import label_smoothing
from src.teaching.mutual import mutual_learning
from src.teaching.unlabelled import UnlabelledLoss
from tests.distillation.networks import batch_of_two, in_training, network

CAT, DOG = 0, 1
OBJECTIVE = Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0})


def hard_alone(training: Any) -> HardLoss:
    return HardLoss(training)


def smoothed(training: Any) -> Any:
    return label_smoothing(0.1)(training)


def with_a_peer(training: Any) -> Any:
    return mutual_learning("yolov8n.yaml", OBJECTIVE)(training)


def taught(training: Any) -> Any:
    return distillation_from(FrozenTeacher(network(1)), OBJECTIVE)(training)


def with_unlabelled(training: Any) -> Any:
    return UnlabelledLoss(training, FrozenTeacher(network(1)), OBJECTIVE, Path("unlabelled"))


def branches_of(raw: Any) -> list[Any]:
    """Return the raw predictions of each branch of a head, as leaves of the graph of gradients."""
    return list(raw.values()) if "one2many" in raw else [raw]


def detached(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {name: detached(value) for name, value in raw.items()}
    if isinstance(raw, list):
        return [detached(value) for value in raw]
    return raw.detach().requires_grad_()


def test_a_batch_loses_the_boxes_of_withheld_classes_alone() -> None:
    batch = batch_of_two()
    told = told_alone(batch, [CAT])
    assert told["batch_idx"].tolist() == [1.0]
    assert told["cls"].tolist() == [[1.0]]
    assert torch.equal(told["bboxes"], batch["bboxes"][1:2])
    assert told["img"] is batch["img"]
    assert len(told_alone(batch, [CAT, DOG])["cls"]) == 0
    assert len(batch["cls"]) == 3, "the batch itself does not change"


@pytest.mark.parametrize("architecture", ["yolov8n.yaml", "yolo26n.yaml"])
def test_the_scores_of_a_withheld_class_get_no_hard_gradient_at_all(architecture: str) -> None:
    student, batch = network(0, architecture).train(), batch_of_two()
    predictions = detached(student(batch["img"]))
    loss = HardLoss(in_training(student))
    loss.withhold([DOG])
    total, _ = loss(predictions, batch)
    total.sum().backward()
    for branch in branches_of(predictions):
        assert branch["scores"].grad[:, DOG].abs().max() == 0
        assert branch["scores"].grad[:, CAT].abs().min() > 0
        assert branch["boxes"].grad.abs().sum() > 0


def test_a_withheld_box_is_no_positive() -> None:
    """What the hard loss of the told class and of the boxes is: that of a batch which never had the others."""
    student, batch = network(0).train(), batch_of_two()
    predictions = student(batch["img"])
    loss = HardLoss(in_training(student))
    loss.withhold([DOG])
    _, withheld = loss(predictions, batch)
    never = {**batch, **{name: batch[name][[0, 2]] for name in ("batch_idx", "cls", "bboxes")}}
    _, plain = student.init_criterion()(predictions, never)
    assert withheld["box_loss"] == plain["box_loss"]
    assert withheld["dfl_loss"] == plain["dfl_loss"]
    assert withheld["cls_loss"] < plain["cls_loss"], "without the zeros for the withheld class"
    assert HardLoss(in_training(student))(predictions, batch)[1]["box_loss"] != withheld["box_loss"]


def test_a_batch_with_withheld_boxes_alone_is_background() -> None:
    student, batch = network(0).train(), batch_of_two()
    only_dogs = {**batch, "cls": torch.full_like(batch["cls"], DOG)}
    loss = HardLoss(in_training(student))
    loss.withhold([DOG])
    total, parts = loss(student(batch["img"]), only_dogs)
    assert torch.isfinite(total).all()
    assert parts["box_loss"] == 0
    assert parts["cls_loss"] > 0


@pytest.mark.parametrize("make", [hard_alone, smoothed, taught, with_a_peer, with_unlabelled])
def test_every_way_of_teaching_withholds_the_labels(make: Callable[[Any], Any], monkeypatch: Any) -> None:
    """Without soft targets neither the scores of the class nor its boxes give a gradient; they do if they are told."""
    student, batch = network(0).train(), batch_of_two()
    batch["cls"] = torch.full_like(batch["cls"], DOG)

    def no_soft_targets(*arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.zeros(()), {}

    monkeypatch.setattr(DistillationLoss, "soft_loss", no_soft_targets)
    monkeypatch.setattr(UnlabelledLoss, "soft_loss", no_soft_targets)
    for withheld in ([], [DOG]):
        predictions = detached(student(batch["img"]))
        loss = make(in_training(student))
        if make is with_a_peer:
            monkeypatch.setattr(loss, "soft", no_soft_targets)
            monkeypatch.setattr(loss, "peer_soft", no_soft_targets)
        if withheld:
            loss.withhold(withheld)
        loss(predictions, batch)[0].sum().backward()
        told = not withheld
        assert bool(predictions["scores"].grad[:, DOG].any()) is told
        assert bool(predictions["boxes"].grad.any()) is told
        assert predictions["scores"].grad[:, CAT].all()


def test_a_peer_that_teaches_gets_all_labels() -> None:
    student, batch = network(0).train(), batch_of_two()
    loss: Any = with_a_peer(in_training(student))
    loss.withhold([DOG])
    loss(student(batch["img"]), batch)[0].sum().backward()
    whole: Any = with_a_peer(in_training(student))
    whole(student(batch["img"]), batch)[0].sum().backward()
    for level, own in enumerate(loss.peer.model[-1].cv3):
        assert torch.equal(own[-1].bias.grad, whole.peer.model[-1].cv3[level][-1].bias.grad)


def test_soft_targets_teach_a_withheld_class() -> None:
    student, batch = network(0).train(), batch_of_two()
    predictions = detached(student(batch["img"]))
    loss: Any = taught(in_training(student))
    loss.withhold([DOG])
    loss(predictions, batch)[0].sum().backward()
    grad = predictions["scores"].grad[:, DOG].clone()
    assert grad.any()
    alone = detached(predictions)
    soft, _ = loss.soft(Predictions.of(alone), loss.teacher(batch["img"]))
    (0.5 * soft * 2).backward()  # alpha, two images
    torch.testing.assert_close(grad, alone["scores"].grad[:, DOG])


def test_nothing_withheld_is_ultralytics_own_loss_to_the_bit() -> None:
    student, batch = network(0).train(), batch_of_two()
    predictions = student(batch["img"])
    total, parts = HardLoss(in_training(student))(predictions, batch)
    expected, expected_parts = student.init_criterion()(predictions, batch)
    assert torch.equal(total, expected)
    assert parts == expected_parts
