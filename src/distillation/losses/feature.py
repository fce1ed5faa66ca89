"""Feature distillation: the student's features come close to the teacher's where the teacher detects an object.

This is the loss of ultralytics' own trainer (`distill_model`), whose function is called here: a squared difference,
weighted by the teacher's best class score at each location, behind two 1x1 convolutions that are trained along with the
student.
"""

from __future__ import annotations

from torch import Tensor, nn
from ultralytics.nn.distill_model import DistillationModel


def feature_difference(student: Tensor, teacher: Tensor, importance: Tensor) -> Tensor:
    """Return the mean squared difference, weighted by importance.

    Args:
        student: (N, C, H, W), projected to the teacher's channels.
        teacher: (N, C, H, W).
        importance: (N, H * W), in [0, 1].

    Returns:
        A scalar, >= 0.
    """
    # The method does not use `self`. Creating an object would load a teacher and register hooks.
    return DistillationModel.loss_sl2(None, student, teacher, feat_idx=0, teacher_scores=(importance[:, None],))


def feature_projector(student_channels: int, teacher_channels: int) -> nn.Module:
    """Return a module that maps the student's channels to the teacher's, in the form that ultralytics uses."""
    return nn.Sequential(
        nn.Conv2d(student_channels, teacher_channels, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(teacher_channels, teacher_channels, kernel_size=1),
    )
