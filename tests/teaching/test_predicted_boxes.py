from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from src.detector.added_boxes import AddedBoxes, NumberedBoxes, add_boxes, parted
from src.detector.criterion import TrainingContext
from src.distillation.objective import Objective
from src.foundation.errors import UserError
from src.teaching.predicted_boxes import PredictedBoxes, PredictedBoxesLoss, learning_from_boxes, softened
from tests.distillation.networks import NAMES, batch_of_two, network

HEADS = {"response": 1.0, "localization": 1.0}


def loss_of(
    student: DetectionModel, scores: Any, temperature: float = 1.0, alpha: float = 1.0, **weights: float
) -> PredictedBoxesLoss:
    """Return the loss of a student of boxes with these scores (K, C), without those of labels."""
    rows = np.concatenate([np.eye(len(NAMES)), np.reshape(scores, (-1, len(NAMES)))]).astype(np.float32)
    context = TrainingContext(student, lambda *arguments: iter(()), lambda boxes: None, seed=0, epochs=4)
    predicted = PredictedBoxes(rows, {}, {})
    return PredictedBoxesLoss(context, predicted, None, Objective(temperature, alpha, weights or HEADS))


def with_boxes(numbers: Any, batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the batch with its own boxes as the predicted ones, with these numbers."""
    added = {"batch_idx": batch["batch_idx"], "bboxes": batch["bboxes"], "numbers": torch.tensor(numbers)}
    return {**batch, "added": added}


@pytest.fixture(params=["yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml"])
def student(request: pytest.FixtureRequest) -> DetectionModel:
    return network(0, request.param).train()


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("numbers", [[0, 1, 0], [2, 3, 2]], ids=["labels", "predictions with the score 1"])
def test_boxes_of_the_labels_with_score_1_give_the_hard_loss_to_the_bit(
    student: DetectionModel, numbers: list[int], temperature: float
) -> None:
    batch = batch_of_two()
    predictions = student(batch["img"])
    hard, _ = student.init_criterion()(predictions, batch)
    loss = loss_of(student, np.eye(2), temperature)
    _, parts = loss(predictions, with_boxes(numbers, batch))
    assert torch.equal(parts["response"], hard[1].detach() / 2)  # of two images
    assert torch.equal(parts["localization"], (hard / 2)[0].detach() + (hard / 2)[2].detach())
    assert torch.equal(loss.hard(predictions, batch)[0], hard), "the hard loss stays as it is"


def test_the_total_is_alpha_soft_t_squared_plus_the_rest_hard(student: DetectionModel) -> None:
    batch = with_boxes([2, 3, 2], batch_of_two())
    predictions = student(batch["img"])
    loss = loss_of(student, [[0.6, 0.2], [0.0, 0.9]], temperature=3.0, alpha=0.7, response=2.0, localization=0.5)
    value, parts = loss(predictions, batch)
    soft = 2.0 * parts["response"] + 0.5 * parts["localization"]
    hard = student.init_criterion()(predictions, batch)[0].sum()
    assert value.item() == pytest.approx((0.7 * soft * 9 * 2 + 0.3 * hard).item(), rel=1e-5)


def test_class_targets_are_the_softened_scores_of_the_assigned_box() -> None:
    """One object, of which the detector is unsure: the targets are a * sigmoid(logit(score) / T)."""
    student, batch = network(0).train(), batch_of_two()
    batch = {**batch, **{key: batch[key][:1] for key in ("batch_idx", "cls", "bboxes")}}
    predictions = student(batch["img"])
    seen: dict[str, Tensor] = {}

    class Kept(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module, name: str) -> None:
            super().__init__()
            self.inner, self.name = inner, name

        def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
            seen[self.name] = targets
            found: Tensor = self.inner(logits, targets)
            return found

    plain: Any = student.init_criterion()
    plain.bce = Kept(plain.bce, "hard")
    plain(predictions, batch)
    loss = loss_of(student, [[0.9, 0.5]], temperature=2.0)
    criterion: Any = loss.hard
    criterion.bce = Kept(criterion.bce, "soft")
    loss(predictions, with_boxes([2], batch))
    fitting = seen["hard"][..., 0]
    assert fitting.max() > 0
    torch.testing.assert_close(seen["soft"], fitting[..., None] * torch.tensor([0.75, 0.5]))


def test_batches_without_a_predicted_box_are_background(student: DetectionModel) -> None:
    batch = batch_of_two()
    none = {"batch_idx": torch.zeros(0), "bboxes": torch.zeros(0, 4), "numbers": torch.zeros(0, dtype=torch.int64)}
    predictions = student(batch["img"])
    value, parts = loss_of(student, [[0.5, 0.5]])(predictions, {**batch, "added": none})
    assert parts["localization"] == 0 < parts["response"]
    value.backward()


def test_certain_scores_stay_at_every_temperature_and_unsure_ones_are_softened() -> None:
    assert softened(torch.tensor([0.0, 0.9, 1.0]), 2.0).tolist() == pytest.approx([0, 0.75, 1])
    torch.testing.assert_close(softened(torch.tensor([0.1, 0.7]), 1.0), torch.tensor([0.1, 0.7]))


def test_features_cannot_be_compared_with_a_file() -> None:
    predicted = PredictedBoxes(np.eye(2, dtype=np.float32), {}, {})
    with pytest.raises(UserError, match="distillation must not compare features, as a file of detections has none"):
        learning_from_boxes(predicted, None, Objective(1.0, 0.5, {"feature": 6.0}))


class OneImage:
    """ultralytics' dataset, as far as boxes are added to it."""

    def __init__(self) -> None:
        self.labels: list[dict[str, Any]] = [
            {"im_file": "/somewhere/a.png", "shape": (50, 100), "cls": column([1]), "bboxes": row(0.5, 0.5, 0.1, 0.2)}
        ]


def column(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None]


def row(*values: float) -> NDArray[np.float32]:
    return np.array([values], dtype=np.float32)


@pytest.mark.parametrize(
    ("boxes", "numbers", "added"),
    [
        pytest.param({"b.png": NumberedBoxes(np.zeros((1, 4)), np.array([7]))}, [1], [0.5, 0.5, 0.1, 0.2], id="labels"),
        pytest.param(
            {"a.png": NumberedBoxes(np.array([[10.0, 20, 30, 30]]), np.array([7]))}, [7], [0.2, 0.5, 0.2, 0.2], id="own"
        ),
    ],
)
def test_added_boxes_are_parted_from_the_labels(boxes: AddedBoxes, numbers: list[int], added: list[float]) -> None:
    dataset = OneImage()
    add_boxes(dataset, boxes, classes=2)
    label = dataset.labels[0]
    assert (label["cls"].dtype, label["bboxes"].dtype) == (np.float32, np.float32)
    raw = {key: torch.from_numpy(label[key]) for key in ("cls", "bboxes")}
    batch = parted({**raw, "batch_idx": torch.zeros(2), "img": None}, classes=2)
    assert batch["cls"].tolist() == [[1]]
    torch.testing.assert_close(batch["bboxes"], torch.tensor([[0.5, 0.5, 0.1, 0.2]]))
    assert batch["added"]["numbers"].tolist() == numbers
    torch.testing.assert_close(batch["added"]["bboxes"], torch.tensor([added]))
