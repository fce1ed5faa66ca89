from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.distillation.losses.overlap import distances, overlap_difference

TEACHER = (1.0, 1.0, 1.0, 1.0)  # left, top, right, bottom: a square of area 4 around the location


def boxes(*edges: float) -> Tensor:
    return torch.tensor(edges).view(1, 4, 1)


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        pytest.param((1.0, 1.0, 1.0, 1.0), 0.0, id="equal"),
        pytest.param((1.0, 1.0, 3.0, 1.0), 0.5, id="twice as wide: IoU 4 / 8, and the hull is the union"),
        pytest.param((-2.0, 1.0, 4.0, 1.0), 1.2, id="beside it: IoU 0, the hull of 10 has 2 that neither covers"),
        pytest.param((-3.0, -3.0, 1.0, 1.0), 1.75, id="inside out: a point at (3, 3), the hull of 16 has 12 beside 4"),
    ],
)
def test_the_difference_is_one_minus_giou(student: tuple[float, ...], expected: float) -> None:
    difference = overlap_difference(boxes(*student), boxes(*TEACHER), 1.0)
    assert difference.shape == (1, 1)
    assert difference.item() == pytest.approx(expected, abs=1e-5)


def test_a_distribution_stands_for_its_expectation() -> None:
    # Four bins. Left: all alike, (0 + 1 + 2 + 3) / 4. Top: bin 2 alone. Right: bins 0 and 3. Bottom: bin 1 alone.
    never = -1e4
    logits = [0.0, 0.0, 0.0, 0.0, never, never, 0.0, never, 0.0, never, never, 0.0, never, 0.0, never, never]
    with_dfl = torch.tensor(logits).view(1, 16, 1)
    assert distances(with_dfl).flatten().tolist() == pytest.approx([1.5, 2.0, 1.5, 1.0])
    without = boxes(1.5, 2.0, 1.5, 1.0)
    assert overlap_difference(without, with_dfl, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert overlap_difference(with_dfl, without, 1.0).item() == pytest.approx(0, abs=1e-6)


def test_locations_of_several_images_stay_apart() -> None:
    student = torch.cat([boxes(*TEACHER), boxes(1.0, 1.0, 3.0, 1.0)], dim=2).repeat(2, 1, 1)
    student[1] = student[1].flip(1)
    teacher = boxes(*TEACHER).expand(2, 4, 2)
    torch.testing.assert_close(
        overlap_difference(student, teacher, 1.0), torch.tensor([[0.0, 0.5], [0.5, 0.0]]), atol=1e-5, rtol=0
    )


def test_the_gradient_moves_a_box_that_is_too_narrow() -> None:
    student = boxes(1.0, 1.0, 0.5, 1.0).requires_grad_()
    overlap_difference(student, boxes(*TEACHER), 1.0).sum().backward()
    assert student.grad is not None
    assert student.grad.flatten()[2] < 0, "a greater right edge lowers the loss"
