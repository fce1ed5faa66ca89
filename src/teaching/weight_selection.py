"""Weight selection: a student starts from a part of its teacher's weights.

Xu et al., "Initializing Models with Larger Ones" (arXiv 2311.18823, section 3) take evenly spaced elements along every
dimension of every tensor. Where a student is half as wide as its teacher, every layer writes and reads the same
channels, also through splits and concatenations: the student is the teacher with every second channel taken out. The
attention of YOLO11 is the exception, as its channels are divided among heads.
"""

from __future__ import annotations

import torch
from torch import Size, Tensor
from ultralytics.nn.tasks import DetectionModel

from src.foundation.errors import SettingError


def select_weights(teacher: DetectionModel, architecture: str) -> DetectionModel:
    """Return a student with evenly spaced channels of its teacher.

    Args:
        teacher: a network with the same layers as the student, each at least as wide.
        architecture: the student's YAML.

    Raises:
        SettingError: the teacher has other layers, or narrower ones.
    """
    student = DetectionModel(architecture, nc=len(teacher.names), verbose=False)
    taught, own = teacher.state_dict(), student.state_dict()
    unlike = [name for name in own if name not in taught or not _fits(own[name].shape, taught[name].shape)]
    unlike += [name for name in taught if name not in own]
    if unlike:
        raise SettingError(
            "student.weights",
            f"cannot be the teacher's for {architecture}: {len(unlike)} tensors are in only one of the two or larger "
            f"than the teacher's, for example {unlike[0]}: choose a student and a teacher of the same family and "
            "depth, such as yolov8n and yolov8s, or null",
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
