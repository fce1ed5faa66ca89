"""Masked generative distillation (MGD): from a part of the student's features, a block makes all of the teacher's.

Yang et al., "Masked Generative Distillation" (arXiv 2205.01529, section on detection). A 1x1 convolution gives the
student's features the teacher's number of channels. A share lambda of the locations is drawn and set to zero in all
channels. Two 3x3 convolutions with a ReLU between them then generate the teacher's features, and the loss is the sum of
the squared differences per image: sum((T - G(align(S) * M))^2). The three convolutions are trained along with the
student and are no part of it.

The masks come from torch's generator of the processor, also on GPUs: they follow from the seed, and a resumed training
draws the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MASKED = 0.65
"""lambda, the share of masked locations: the paper's for one-stage detectors."""


class MaskedGenerator(nn.Module):
    """Generates the teacher's features from a random part of the student's.

    Args:
        student_channels: number of the student's channels.
        teacher_channels: number of the teacher's.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        same = student_channels == teacher_channels
        self.align = nn.Identity() if same else nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
        self.generate = nn.Sequential(
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, C_t, H, W) for the student's (N, C_s, H, W)."""
        images, _, height, width = features.shape
        kept = torch.rand(images, 1, height, width) >= MASKED
        generated: Tensor = self.generate(self.align(features) * kept.to(features.device))
        return generated


def masked_difference(student: Tensor, teacher: Tensor, importance: Tensor) -> Tensor:
    """Return the sum of squared differences, averaged over images.

    Args:
        student: (N, C, H, W), generated from the student's.
        teacher: (N, C, H, W).
        importance: not used; all locations count the same.

    Returns:
        A scalar, >= 0. It grows with the number of locations and channels, as in the paper, so its weight is small.
    """
    return (student - teacher).square().sum() / len(student)


def masked_projector(student_channels: int, teacher_channels: int) -> nn.Module:
    """Return a module that generates the teacher's features from the student's."""
    return MaskedGenerator(student_channels, teacher_channels)
