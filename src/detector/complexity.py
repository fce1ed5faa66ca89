"""Parameters and arithmetic operations of a detector."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import get_flops

from src.foundation.image_size import ImageSize, height_width


@dataclass(frozen=True)
class Complexity:
    """Parameters, and floating point operations of one image in GFLOPs (two per multiply-add)."""

    parameters: int
    gflops: float


def complexity(network: DetectionModel, imgsz: ImageSize) -> Complexity:
    """Return the complexity of the deployed network (batch norm folded in) for an image of `imgsz` px."""
    fused = deepcopy(network).fuse(verbose=False)
    gflops = round(get_flops(fused, height_width(imgsz)), 4)
    return Complexity(sum(parameter.numel() for parameter in fused.parameters()), gflops)
