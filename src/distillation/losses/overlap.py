"""Overlap distillation: the student's box comes to lie on the teacher's box of the same location.

Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Dense Object Detection" (arXiv 2306.11369) compare the
boxes of heads without distributions by the loss of Rezatofighi et al., "Generalized Intersection over Union" (arXiv
1902.09630), with the weight 1. torchvision computes it. CrossKD passes the student's features through the teacher's
head; here the student's own head predicts, as in all losses of this project.

The loss compares boxes, not logits. So heads with DFL and heads without (YOLO26) can teach each other. It has no
temperature: a box is no distribution.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from src.distillation.losses.localization import EDGES


def overlap_difference(student_boxes: Tensor, teacher_boxes: Tensor, temperature: float) -> Tensor:
    """Return 1 - GIoU of the student's and the teacher's boxes.

    Args:
        student_boxes: (N, 4 * R, A), bin logits of left, top, right and bottom at A locations; with R = 1 distances.
        teacher_boxes: (N, 4 * R', A); R' may differ from R.
        temperature: not used.

    Returns:
        (N, A), in [0, 2].
    """
    pair = (corners(distances(boxes)).transpose(1, 2) for boxes in (student_boxes, teacher_boxes))
    difference: Tensor = generalized_box_iou_loss(*pair, reduction="none")
    return difference


def distances(boxes: Tensor) -> Tensor:
    """Return the distances to the four edges, (N, 4, A) in strides, from box predictions (N, 4 * R, A).

    Of a distribution over the bins 0 to R - 1 it is the expectation ("Generalized Focal Loss", arXiv 2006.04388, eq.
    4).
    """
    logits = boxes.unflatten(1, (EDGES, -1))
    bins = logits.shape[2]
    if bins == 1:
        return logits.squeeze(2)
    values = torch.arange(bins, dtype=logits.dtype, device=logits.device)
    return (logits.softmax(dim=2) * values[:, None]).sum(dim=2)


def corners(edges: Tensor) -> Tensor:
    """Return x1, y1, x2, y2 from the location, (N, 4, A), for distances (N, 4, A).

    Without DFL a distance can be negative. A box whose edges have changed places is empty, not of negative size: two
    negative sides would have a positive area.
    """
    upper_left = -edges[:, :2]
    return torch.cat([upper_left, torch.maximum(edges[:, 2:], upper_left)], dim=1)
