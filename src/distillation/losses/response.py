"""Response distillation: the student's class scores follow the teacher's, both softened by a temperature.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531, section 2) soften a softmax.
YOLOv8's classes are independent sigmoids. So here every class at every location is a separate Bernoulli distribution,
and softening divides its logit by T.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def response_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) of the softened class scores, summed over classes.

    Args:
        student_logits: (N, C, A), class logits at A locations.
        teacher_logits: (N, C, A).
        temperature: T > 0; both are divided by it.

    Returns:
        (N, A), nats, >= 0. The caller applies the factor T^2.
    """
    z_s, z_t = student_logits / temperature, teacher_logits / temperature
    p_t = z_t.sigmoid()
    cross_entropy = binary_cross_entropy_with_logits(z_s, p_t, reduction="none")
    entropy = binary_cross_entropy_with_logits(z_t, p_t, reduction="none")
    return (cross_entropy - entropy).sum(dim=1)
