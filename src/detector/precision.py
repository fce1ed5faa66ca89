"""The floating-point type in which networks compute: bfloat16 where the processor computes in it, float32 elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

NATIVE = ("amx_bf16", "avx512_bf16", "bf16")
"""The CPU's capabilities, as torch names them, that compute in bfloat16. Without them it is emulated, which is slow."""


def dtype_for(precision: str, device: str) -> torch.dtype:
    """Return the type in which networks compute.

    Args:
        precision: "bfloat16", "float32", or "auto": bfloat16 if the device has instructions for it.
        device: "auto", "cpu" or CUDA indices.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device != "cpu" and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = any(torch.cpu.get_capabilities().get(name) for name in NATIVE)
    return torch.bfloat16 if native else torch.float32


class _InBfloat16(DetectionModel):
    """A detector whose forward pass in training computes in bfloat16; weights, loss and validation are in float32.

    Validation decodes boxes in the forward pass, and 8 significant bits are too coarse for coordinates in pixels.
    """

    def predict(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.training:
            return super().predict(x, *args, **kwargs)
        with torch.autocast(x.device.type, torch.bfloat16):
            predictions = super().predict(x, *args, **kwargs)
        return _in_float32(predictions)


def train_in_bfloat16(network: DetectionModel) -> None:
    """Let a detector's forward pass in training compute in bfloat16, and keep its weights in channels_last, in place.

    In channels_last, convolutions read bfloat16 without reordering it first. Images should be in channels_last too.
    """
    network.__class__ = _InBfloat16
    network.to(memory_format=torch.channels_last)


def compute_in_float32(network: DetectionModel) -> None:
    """Undo `train_in_bfloat16`, in place."""
    network.__class__ = DetectionModel
    network.to(memory_format=torch.contiguous_format)


def _in_float32(predictions: Any) -> Any:
    match predictions:
        case Tensor():
            return predictions.float()
        case dict():
            return {name: _in_float32(value) for name, value in predictions.items()}
        case list() | tuple():
            return [_in_float32(value) for value in predictions]
        case _:
            return predictions
