"""Settings that all computing stages share (section `common` of params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import Range

MOST_THREADS = 1024
"""Far more than machines have. A larger number is a slip of the keyboard, and would exhaust the memory."""

COARSEST_STRIDE = 32
"""Of the detectors' heads, px: the side of the image has to be a multiple of it."""


@dataclass(kw_only=True)
class Common:
    """Size of the images, device and threads."""

    imgsz: Annotated[int, Range(least=COARSEST_STRIDE, multiple_of=COARSEST_STRIDE)]
    device: str
    threads: Annotated[int, Range(least=1, most=MOST_THREADS)]
    workers: Annotated[int, Range(least=0)]
