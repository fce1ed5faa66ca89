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

    import torchvision.extension

    # torchvision.ops refuses to call operators that it did not load itself.
    torchvision.extension._has_ops = lambda: True


def _nms(boxes_xyxy: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return the indices of the boxes to keep, best score first: (N, 4) float, (N,) float -> (K,) int64."""
    if not len(boxes_xyxy):
        return torch.empty(0, dtype=torch.int64)
    corners = boxes_xyxy.double().numpy()
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    # OpenCV's type annotations leave out arrays, which work.
    kept = cv2.dnn.NMSBoxes(boxes_xywh, scores.float().numpy(), 0.0, iou_threshold)  # type: ignore[arg-type]
    return torch.as_tensor(kept, dtype=torch.int64)


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
