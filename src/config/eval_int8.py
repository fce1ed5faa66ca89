"""Settings of eval-int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.config.common import Common, ThreadCount
from src.foundation.constraints import Range


@dataclass(kw_only=True)
class EvalInt8(Common):
    """The gate, and how latency is measured.

    Attributes:
        max_drop: largest loss of test mAP50-95 of INT8 against ONNX FP32.
        latency_rounds: number of timed passes per network.
        latency_threads: of each runtime while it is timed.
        pictures: number of images shown, those on which INT8 and FP32 agree least.
    """

    max_drop: Annotated[float, Range(least=0, most=1)]
    latency_rounds: Annotated[int, Range(least=1)]
    latency_threads: Annotated[int, ThreadCount()]
    pictures: Annotated[int, Range(least=0)]
