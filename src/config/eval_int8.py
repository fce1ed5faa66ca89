"""Settings of eval-int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.config.common import Common, ThreadCount
from src.evaluation.gate import Gates
from src.foundation.constraints import Range


@dataclass(kw_only=True)
class EvalInt8(Common):
    """The gates, and how latency is measured.

    Attributes:
        max_drop: largest loss of test mAP50-95 of INT8 against ONNX FP32.
        min_map50_95: smallest test mAP50-95 of INT8; None: no gate, and the verdict warns of a teacher that has learned
            nearly nothing.
        min_class_map50_95: smallest test mAP50-95 of INT8 on each class; None: no gate.
        latency_rounds: number of timed passes per network.
        latency_threads: of each runtime while it is timed.
        pictures: number of images shown, those on which INT8 and FP32 agree least.
    """

    max_drop: Annotated[float, Range(least=0, most=1)]
    min_map50_95: Annotated[float | None, Range(least=0, most=1)]
    min_class_map50_95: Annotated[float | None, Range(least=0, most=1)]
    latency_rounds: Annotated[int, Range(least=1)]
    latency_threads: Annotated[int, ThreadCount()]
    pictures: Annotated[int, Range(least=0)]

    @property
    def gates(self) -> Gates:
        """The limits of INT8."""
        return Gates(self.max_drop, self.min_map50_95, self.min_class_map50_95)
