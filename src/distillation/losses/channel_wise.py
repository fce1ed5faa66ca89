"""Channel-wise distillation: each channel of the student's features attends to the places where the teacher's does.

Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction" (arXiv 2011.13256, eq. 2 to 4): a softmax over
the H * W places makes of a channel a distribution, and the divergence of the two is the loss. It is asymmetric: where
the teacher's channel is silent the student may do as it likes. Channels that differ in number meet through a 1x1
convolution that is trained along, as in the paper.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

TEMPERATURE = 1.0
"""What the paper's authors have, with a weight of 5, for the maps between a detector's neck and its head (the
configurations of RetinaNet in their mmdetection-distiller); 4 is theirs for the logits of segmentation."""


def channel_wise_divergence(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return T^2 * KL(teacher || student) of the places' distributions, averaged over images and channels.

    Args:
        student: (N, C, H, W), projected to the teacher's channels.
        teacher: (N, C, H, W).
        temperature: T > 0.

    Returns:
        A scalar, nats, >= 0. It includes T^2, as in the paper's eq. 4.
    """
    log_p_s, log_p_t = (log_softmax(feature.flatten(2) / temperature, dim=2) for feature in (student, teacher))
    return temperature**2 * kl_div(log_p_s, log_p_t, reduction="none", log_target=True).sum(dim=2).mean()


def channel_wise_projector(student_channels: int, teacher_channels: int) -> nn.Module:
    """Return what gives the student's features the teacher's channels."""
    if student_channels == teacher_channels:
        return nn.Identity()
    return nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
