from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import pytest
import torch
from torch import Tensor

from src.distillation.losses.localization import localization_divergence
from src.distillation.losses.response import response_divergence

Divergence = Callable[[Tensor, Tensor, float], Tensor]


def logit(probability: float) -> float:
    return log(probability / (1 - probability))


def bernoulli_kl(p: float, q: float) -> float:
    return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))


def test_response_of_one_class() -> None:
    student, teacher = torch.tensor([[[logit(0.3)]]]), torch.tensor([[[logit(0.8)]]])
    # 0.8 ln(0.8 / 0.3) + 0.2 ln(0.2 / 0.7) = 0.5341 nats
    assert response_divergence(student, teacher, 1.0).item() == pytest.approx(0.53411, abs=1e-5)


def test_response_sums_over_classes_and_softens_by_temperature() -> None:
    z_s, z_t, temperature = (0.5, -1.0), (2.0, 1.0), 4.0
    expected = sum(
        bernoulli_kl(1 / (1 + exp(-t / temperature)), 1 / (1 + exp(-s / temperature)))
        for s, t in zip(z_s, z_t, strict=True)
    )
    divergence = response_divergence(torch.tensor(z_s).view(1, 2, 1), torch.tensor(z_t).view(1, 2, 1), temperature)
    assert divergence.shape == (1, 1)
    assert divergence.item() == pytest.approx(expected, rel=1e-5)


def test_localization_of_two_bins() -> None:
    # Left: teacher (3/4, 1/4), student (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308 nats. The other edges agree.
    teacher = torch.zeros(1, 8, 1)
    teacher[0, 0, 0] = log(3)
    divergence = localization_divergence(torch.zeros(1, 8, 1), teacher, 1.0)
    assert divergence.item() == pytest.approx(0.130812 / 4, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("divergence", [response_divergence, localization_divergence])
class TestProperties:
    def logits(self, seed: int) -> Tensor:
        return torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3

    def test_identical_logits_give_zero(self, divergence: Divergence, temperature: float) -> None:
        assert divergence(self.logits(0), self.logits(0), temperature).abs().max() < 1e-12

    def test_different_logits_give_more_at_every_location(self, divergence: Divergence, temperature: float) -> None:
        value = divergence(self.logits(0), self.logits(1), temperature)
        assert value.shape == (2, 5)
        assert (value > 0).all()

    def test_gradients_times_t_squared_keep_their_size(self, divergence: Divergence, temperature: float) -> None:
        # Small logits make the approximation behind T^2 exact: the gradient shrinks as 1 / T^2.
        student = (self.logits(0) * 1e-4).requires_grad_()
        divergence(student, self.logits(1) * 1e-4, temperature).sum().backward()
        unsoftened = (self.logits(0) * 1e-4).requires_grad_()
        divergence(unsoftened, self.logits(1) * 1e-4, 1.0).sum().backward()
        assert student.grad is not None
        assert unsoftened.grad is not None
        torch.testing.assert_close(student.grad * temperature**2, unsoftened.grad, rtol=1e-2, atol=1e-8)


def test_the_order_of_classes_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(1, 6, 4, generator=generator) for _ in range(2))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(
        response_divergence(student[:, order], teacher[:, order], 2.0), response_divergence(student, teacher, 2.0)
    )
