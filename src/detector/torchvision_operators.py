"""Makes `import torchvision` work with a torch build that does not fit torchvision's compiled operators.

PyPI's torchvision wheel is compiled for the CUDA build of torch. With a CPU-only torch its library does not load,
`torchvision::nms` is never defined, and `import torchvision` (which ultralytics' validator does) fails with "operator
torchvision::nms does not exist".

onnxruntime's operator is used instead. It keeps the same boxes as ultralytics' own pure torch fallback. On hundreds of
boxes, as a network early in its training proposes them, it takes a quarter of the time of OpenCV's `NMSBoxes`.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
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
    corners, confidences = boxes_xyxy.float().numpy(), scores.float().numpy()
    session, threshold = _session(), np.array([iou_threshold], dtype=np.float32)
    kept = []
    for group in _apart(corners):
        inputs = {"boxes": corners[None, group], "scores": confidences[None, None, group], "threshold": threshold}
        (selected,) = session.run(None, inputs)
        kept.append(group[selected[:, 2]])  # a row is batch, class, box
    found = np.sort(np.concatenate(kept))
    return torch.as_tensor(found[np.argsort(-confidences[found], kind="stable")])


@cache
def _session() -> onnxruntime.InferenceSession:
    """Return a session of the operator alone. Its boxes may have their corners in any order."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("boxes", [1, None, 4]), ("scores", [1, 1, None]), ("threshold", [1]))
    ]
    no_limit = helper.make_tensor("most", TensorProto.INT64, [1], [np.iinfo(np.int64).max])
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "threshold"], ["selected"])
    selected = helper.make_tensor_value_info("selected", TensorProto.INT64, [None, 3])
    graph = helper.make_graph([node], "nms", inputs, [selected], [no_limit])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the operator has no parallel part
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _apart(boxes_xyxy: NDArray[np.float32]) -> list[NDArray[np.int64]]:
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
