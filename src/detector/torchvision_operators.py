"""Makes `import torchvision` work beside a torch build that its compiled operators do not fit.

PyPI's torchvision wheel is compiled for the CUDA build of torch. Beside a CPU-only torch its library does not load,
`torchvision::nms` is never defined, and `import torchvision` (which ultralytics' validator does) dies with "operator
torchvision::nms does not exist".
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_KEPT_LIBRARIES: list[torch.library.Library] = []  # a Library undoes its definitions when it is collected


def provide_torchvision_operators() -> None:
    """Define `torchvision::nms` in pure torch if, and only if, the compiled operators cannot be loaded."""
    if _compiled_operators_load():
        return
    definitions = torch.library.Library("torchvision", "DEF")
    definitions.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # torchvision registers shapes for both while it is imported; nothing here calls the quantized one.
    definitions.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT_LIBRARIES.append(definitions)

    from ultralytics.utils.nms import TorchNMS

    definitions.impl("nms", TorchNMS.nms, "CPU")

    import torchvision.extension

    # torchvision.ops refuses to call what it did not load itself.
    torchvision.extension._has_ops = lambda: True


def _compiled_operators_load() -> bool:
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return False
    for library in Path(package.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
        return hasattr(torch.ops.torchvision, "nms")
    return False
