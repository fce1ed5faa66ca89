"""Localization distillation: the student's box distributions follow the teacher's, both softened by a temperature.

Zheng et al., "Localization Distillation for Dense Object Detection" (arXiv 2102.12252, eq. 4): a DFL head predicts
every edge of a box as a distribution over R bins of distance, and the divergence of two such distributions is a loss,
as for classes. The paper selects a valuable localization region; here the caller weights locations by the teacher's
scores.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

EDGES = 4


def localization_divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) of the softened edge distributions, averaged over the four edges.

    Args:
        student_logits: (N, 4 * R, A), bin logits of left, top, right and bottom at A locations.
        teacher_logits: (N, 4 * R, A).
        temperature: T > 0; both are divided by it.

    Returns:
        (N, A), nats, >= 0. The caller applies the factor T^2.
    """
    z_s, z_t = (logits.unflatten(1, (EDGES, -1)) / temperature for logits in (student_logits, teacher_logits))
    log_p_s, log_p_t = log_softmax(z_s, dim=2), log_softmax(z_t, dim=2)
    return kl_div(log_p_s, log_p_t, reduction="none", log_target=True).sum(dim=2).mean(dim=1)
