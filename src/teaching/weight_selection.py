"""Weight selection: a part of the teacher's weights becomes the student's initial weights.

Xu et al., "Initializing Models with Larger Ones" (arXiv 2311.18823, section 3) take evenly spaced elements along every
dimension of every tensor. If a student is half as wide as its teacher, every layer writes and reads the same channels,
also through splits and concatenations: the student is the teacher without every second channel. The attention of YOLO11
is the exception, because its channels are divided among heads.
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
    source, target = teacher.state_dict(), student.state_dict()
    unlike = [name for name in target if name not in source or not _fits(target[name].shape, source[name].shape)]
    unlike += [name for name in source if name not in target]
    if unlike:
        raise SettingError(
            "student.weights",
            f"cannot be the teacher's for {architecture}: {len(unlike)} tensors are in only one of the two or larger "
            f"than the teacher's, for example {unlike[0]}: choose a student and a teacher of the same family and "
            "depth, such as yolov8n and yolov8s, or null",
        )
    student.load_state_dict({name: evenly_spaced(source[name], tensor.shape) for name, tensor in target.items()})
    return student


def evenly_spaced(tensor: Tensor, shape: Size) -> Tensor:
    """Return elements of `tensor` as a tensor of `shape`, evenly spaced along each dimension, from the first.

    >>> evenly_spaced(torch.arange(6), Size([3]))
    tensor([0, 2, 4])
    """
    for dimension, (size, new_size) in enumerate(zip(tensor.shape, shape, strict=True)):
        tensor = tensor.index_select(dimension, torch.arange(new_size) * size // new_size)
    return tensor


def _fits(shape: Size, into: Size) -> bool:
    return len(shape) == len(into) and all(size <= larger for size, larger in zip(shape, into, strict=True))
