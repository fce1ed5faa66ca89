"""Settings that all computing stages share (section `common` of params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from src.foundation.constraints import OneOf, Range
from src.foundation.processors import AUTO, processors_for, usable_processors

COARSEST_STRIDE = 32
"""Of the heads of most detectors, px: the side of the image has to be a multiple of it. A P6 head has 64, which is
checked when the network is built."""

SIDE = Range(least=COARSEST_STRIDE, multiple_of=COARSEST_STRIDE)
"""Of a height or a width."""


class InputSize:
    """The size of the input, px: the side of a square, or [height, width]."""

    def admits(self, value: Any) -> bool:
        """Return whether a field may have this value."""
        sides = value if isinstance(value, list) and len(value) == 2 else [value]
        return all(type(side) is int and SIDE.admits(side) for side in sides)  # True is no side

    def __str__(self) -> str:
        """Complete the sentence "must ..."."""
        return f"be one side or [height, width], each {str(SIDE).removeprefix('be ')}"


class ThreadCount:
    """A number of threads: "auto", or at most the processors that there are. More would only wait for each other."""

    def admits(self, value: int | str) -> bool:
        """Return whether a field may have this value."""
        return value == AUTO or (isinstance(value, int) and 1 <= value <= usable_processors())

    def __str__(self) -> str:
        """Complete the sentence "must ..."."""
        return f"be auto or from 1 to {usable_processors()}, the number of processors that this process may use"


@dataclass(kw_only=True)
class Common:
    """Size of the images, device, threads and precision."""

    imgsz: Annotated[Any, InputSize()]  # OmegaConf has no type for a number or a list
    device: str
    threads: Annotated[int | str, ThreadCount()]
    precision: Annotated[str, OneOf(AUTO, "bfloat16", "float32")]
    workers: Annotated[int, Range(least=0)]

    @property
    def cpu_threads(self) -> int:
        """The number of threads of torch and of the runtimes on the CPU."""
        return processors_for(self.threads)
