"""Parameters and arithmetic operations of a detector."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import get_flops


@dataclass(frozen=True)
class Complexity:
    """Parameters, and floating point operations of one image in GFLOPs (two per multiply-add)."""

    parameters: int
    gflops: float


def complexity(network: DetectionModel, imgsz: int) -> Complexity:
    """Return the complexity of the deployed network (batch norm folded in) for a square image of `imgsz` px."""
    fused = deepcopy(network).fuse(verbose=False)
    return Complexity(sum(parameter.numel() for parameter in fused.parameters()), round(get_flops(fused, imgsz), 4))
