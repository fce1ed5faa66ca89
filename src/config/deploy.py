"""Settings of deploy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import Range
from src.targets import NAMES


@dataclass(kw_only=True)
class Deploy:
    """The targets, and what a file for one of them may lose.

    Attributes:
        target: names of files in src/targets.
        max_drop: largest loss of val mAP50-95 against ONNX FP32.
    """

    target: list[str]
    max_drop: Annotated[float, Range(least=0, most=1)]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of targets: there are none, there is no such one, or one is named twice."""
        unknown = [name for name in self.target if name not in NAMES]
        twice = sorted({name for name in self.target if self.target.count(name) > 1})
        if not self.target:
            yield "target", f"must name a target: a list of {', '.join(NAMES)}"
        elif unknown:
            yield "target", f"must be a list of {', '.join(NAMES)}, got {', '.join(unknown)}"
        elif twice:
            yield "target", f"must name each target once, got {', '.join(twice)} more often"
