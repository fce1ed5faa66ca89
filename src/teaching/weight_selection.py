"""Weight selection: a student begins with a part of its teacher's weights.

Xu et al., "Initializing Models with Larger Ones" (arXiv 2311.18823, section 3): of every dimension of every tensor,
evenly spaced elements. Where a student is half as wide as its teacher, these are the same channels wherever one is
written and read, through splits and concatenations, too: the student is the teacher with every second channel taken
out. The attention of YOLO11 is the exception, as its channels are divided among heads.
"""

from __future__ import annotations

import torch
from torch import Size, Tensor
from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import UserError


def select_weights(teacher: DetectionModel, architecture: str) -> DetectionModel:
    """Return a network of the teacher's classes that has evenly spaced channels of the teacher.

    Args:
        teacher: of the same layers as the student, each at least as wide.
        architecture: the student's YAML.

    Raises:
        UserError: the teacher has other layers, or narrower ones.
    """
    student = DetectionModel(architecture, nc=len(teacher.names), verbose=False)
    taught, own = teacher.state_dict(), student.state_dict()
    unlike = [name for name in own if name not in taught or not _fits(own[name].shape, taught[name].shape)]
    unlike += [name for name in taught if name not in own]
    if unlike:
        raise UserError(
            f"{architecture} cannot begin with its teacher's weights: {len(unlike)} tensors are in only one of the "
            f"two or larger than the teacher's, {unlike[0]} for one; choose a student and a teacher of the same family "
            "and depth, such as yolov8n and yolov8s, or student.weights=null"
        )
    student.load_state_dict({name: evenly_spaced(taught[name], tensor.shape) for name, tensor in own.items()})
    return student


def evenly_spaced(tensor: Tensor, shape: Size) -> Tensor:
    """Return elements of `tensor` as a tensor of `shape`, evenly spaced along each dimension, from the first."""
    for dimension, (size, wanted) in enumerate(zip(tensor.shape, shape, strict=True)):
        tensor = tensor.index_select(dimension, torch.arange(wanted) * size // wanted)
    return tensor


def _fits(shape: Size, into: Size) -> bool:
    return len(shape) == len(into) and all(size <= larger for size, larger in zip(shape, into, strict=True))
