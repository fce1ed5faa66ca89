"""Makes `import torchvision` work with a torch build that does not fit torchvision's compiled operators.

PyPI's torchvision wheel is compiled for the CUDA build of torch. With a CPU-only torch its library does not load,
`torchvision::nms` is never defined, and `import torchvision` (which ultralytics' validator does) fails with "operator
torchvision::nms does not exist".

OpenCV's operator is used instead. It keeps the same boxes as ultralytics' own pure torch fallback and is 4 to 20 times
faster on the thousands of boxes that an untrained network proposes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import library

_KEPT_LIBRARIES: list[library.Library] = []  # a Library removes its definitions when it is garbage-collected


def provide_torchvision_operators() -> None:
    """Define `torchvision::nms` if, and only if, the compiled operators cannot be loaded."""
    if _compiled_operators_load():
        return
    definitions = library.Library("torchvision", "DEF")
    definitions.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # torchvision registers shapes for both when it is imported; nothing here calls the quantized one.
    definitions.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT_LIBRARIES.append(definitions)

    definitions.impl("nms", _nms, "CPU")


def admit_own_operators() -> None:
    """Let torchvision.ops, which refuses to call operators that it did not load itself, call these.

    Not when they are defined: importing torchvision takes a second.
    """
    if _KEPT_LIBRARIES:
        import torchvision.extension

        torchvision.extension._has_ops = lambda: True


def _nms(boxes_xyxy: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return the indices of the boxes to keep, best score first: (N, 4) float, (N,) float -> (K,) int64."""
    if not len(boxes_xyxy):
        return torch.empty(0, dtype=torch.int64)
    corners, confidences = boxes_xyxy.double().numpy(), scores.float().numpy()
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    kept = [
        group[cv2.dnn.NMSBoxes(boxes_xywh[group], confidences[group], 0.0, iou_threshold)]  # type: ignore[arg-type]
        for group in _apart(corners)
    ]
    found = np.sort(np.concatenate(kept))
    return torch.as_tensor(found[np.argsort(-confidences[found], kind="stable")])


def _apart(boxes_xyxy: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the indices of the boxes in groups that do not overlap horizontally, so that each can be searched alone.

    ultralytics shifts the boxes of each class by more than the width of an image. Each class is a group, and the time
    is that of the largest class, not of the square of all boxes.
    """
    order = np.argsort(boxes_xyxy[:, 0], kind="stable")
    furthest = np.maximum.accumulate(boxes_xyxy[order, 2])
    starts = np.flatnonzero(boxes_xyxy[order[1:], 0] > furthest[:-1]) + 1
    return [np.sort(group) for group in np.split(order, starts)]


def _compiled_operators_load() -> bool:
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return False
    for compiled in Path(package.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            return False
        return hasattr(torch.ops.torchvision, "nms")
    return False
