from __future__ import annotations

from math import log

import pytest
import torch

from src.distillation.losses.channel_wise import channel_wise_divergence, channel_wise_projector
from src.distillation.losses.feature import feature_difference
from src.distillation.losses.masked import MASKED, MaskedGenerator, masked_difference, masked_projector

EVERYWHERE = torch.ones(1, 1)


def test_channel_wise_of_two_locations() -> None:
    # One channel, two locations: the teacher attends by 3 : 1, the student equally.
    teacher = torch.tensor([log(3.0), 0.0]).reshape(1, 1, 1, 2)
    student = torch.zeros(1, 1, 1, 2)
    expected = 0.75 * log(0.75 / 0.5) + 0.25 * log(0.25 / 0.5)
    assert channel_wise_divergence(student, teacher, EVERYWHERE).item() == pytest.approx(expected)


def test_channel_wise_is_a_mean_over_images_and_channels() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64)
    whole = channel_wise_divergence(student, teacher, EVERYWHERE)
    each = [
        channel_wise_divergence(student[image, channel][None, None], teacher[image, channel][None, None], EVERYWHERE)
        for image in range(2)
        for channel in range(3)
    ]
    torch.testing.assert_close(whole, torch.stack(each).mean())


def test_channel_wise_ignores_a_constant_per_channel() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    shifted = teacher + torch.arange(4.0)[None, :, None, None]
    assert channel_wise_divergence(shifted, teacher, EVERYWHERE).item() == pytest.approx(0, abs=1e-12)
    assert channel_wise_divergence(teacher.flip(3), teacher, EVERYWHERE) > 0


def test_equal_numbers_of_channels_need_no_projector() -> None:
    assert not list(channel_wise_projector(8, 8).parameters())
    assert channel_wise_projector(8, 16)(torch.zeros(1, 8, 2, 2)).shape == (1, 16, 2, 2)


def test_feature_difference_of_two_locations() -> None:
    student = torch.tensor([[1.0, 5.0], [2.0, 9.0]]).reshape(1, 2, 1, 2)  # two channels, two locations
    teacher = torch.zeros(1, 2, 1, 2)
    importance = torch.tensor([[0.5, 0.0]])  # the second location has no weight
    assert feature_difference(student, teacher, importance).item() == pytest.approx((1 + 4) / 2)


def test_masked_difference_of_two_images() -> None:
    # Image 0: (1 - 0)^2 + (3 - 1)^2 = 5; image 1: (0 - 2)^2 + 0 = 4. Their mean is 4.5.
    student = torch.tensor([[1.0, 3.0], [0.0, 5.0]]).reshape(2, 1, 1, 2)
    teacher = torch.tensor([[0.0, 1.0], [2.0, 5.0]]).reshape(2, 1, 1, 2)
    assert masked_difference(student, teacher, EVERYWHERE).item() == pytest.approx(4.5)
    assert masked_difference(teacher, teacher, EVERYWHERE) == 0


def test_masks_hide_whole_locations_and_follow_from_the_seed() -> None:
    generator = MaskedGenerator(4, 4)
    generator.generate = torch.nn.Identity()
    shown = torch.ones(8, 4, 20, 20)
    torch.manual_seed(0)
    first, second = generator(shown), generator(shown)
    torch.manual_seed(0)
    assert torch.equal(generator(shown), first)
    assert not torch.equal(first, second)
    assert torch.equal(first.amin(dim=1), first.amax(dim=1)), "all channels of a location"
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert 1 - first.mean().item() == pytest.approx(MASKED, abs=0.02)  # of 3200 locations
    assert not torch.equal(first[0], first[1]), "each image has its own mask"


def test_a_masked_generator_gives_the_teachers_channels_and_is_trained() -> None:
    generator = masked_projector(8, 16)
    generator(torch.rand(2, 8, 4, 4)).sum().backward()
    assert generator(torch.rand(2, 8, 4, 4)).shape == (2, 16, 4, 4)
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in generator.parameters())
    assert len(list(generator.parameters())) == 6
    assert len(list(masked_projector(16, 16).parameters())) == 4, "equal numbers of channels need no alignment"
