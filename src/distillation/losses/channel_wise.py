"""Channel-wise distillation: each channel of the student's features attends to the same locations as the teacher's.

Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction" (arXiv 2011.13256, eq. 2 to 4): a softmax over
the H * W locations turns a channel into a distribution, and the divergence of the two distributions is the loss. It is
asymmetric: where the teacher's channel is close to zero, the student's values hardly count. If the numbers of channels
differ, a 1x1 convolution maps the student's channels to the teacher's, as in the paper; it is trained along with the
student.

The temperature of eq. 2 is 1 here. The paper's authors use 1, with a weight of 5, for the maps between a detector's
neck and its head (the configurations of RetinaNet in their mmdetection-distiller), and 4 for the logits of
segmentation.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax


def channel_wise_divergence(student: Tensor, teacher: Tensor, importance: Tensor) -> Tensor:
    """Return KL(teacher || student) of the distributions over locations, averaged over images and channels.

    Args:
        student: (N, C, H, W), projected to the teacher's channels.
        teacher: (N, C, H, W).
        importance: not used; the teacher's own distribution weights the locations.

    Returns:
        A scalar, nats, >= 0.
    """
    log_p_s, log_p_t = (log_softmax(feature.flatten(2), dim=2) for feature in (student, teacher))
    return kl_div(log_p_s, log_p_t, reduction="none", log_target=True).sum(dim=2).mean()


def channel_wise_projector(student_channels: int, teacher_channels: int) -> nn.Module:
    """Return a module that maps the student's channels to the teacher's; the identity if the numbers are equal."""
    if student_channels == teacher_channels:
        return nn.Identity()
    return nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
