"""Size and arithmetic of a detector."""

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
    """Count what the network has and does for a square image of `imgsz` px, as it is deployed: batch norm folded in."""
    fused = deepcopy(network).fuse(verbose=False)
    return Complexity(sum(parameter.numel() for parameter in fused.parameters()), round(get_flops(fused, imgsz), 4))
