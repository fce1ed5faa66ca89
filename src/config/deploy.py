"""Settings of deploy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import NotEmpty, Range
from src.targets import NAMES


@dataclass(kw_only=True)
class Deploy:
    """The targets, and what a file for one of them may lose.

    Attributes:
        target: names of files in src/targets.
        max_drop: largest loss of val mAP50-95 against ONNX FP32.
    """

    target: Annotated[list[str], NotEmpty()]
    max_drop: Annotated[float, Range(least=0, most=1)]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of targets that there are not, or that are named twice."""
        unknown = [name for name in self.target if name not in NAMES]
        twice = sorted({name for name in self.target if self.target.count(name) > 1})
        if unknown:
            yield "target", f"must be a list of {', '.join(NAMES)}, got {', '.join(unknown)}"
        elif twice:
            yield "target", f"must name each target once, got {', '.join(twice)} more often"
