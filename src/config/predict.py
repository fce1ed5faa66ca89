"""Settings of predict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.config.common import ThreadCount
from src.deployment.runner import RUNTIMES
from src.foundation.constraints import OneOf, Range
from src.foundation.processors import processors_for


@dataclass(kw_only=True)
class Predict:
    """What is looked at, by which network, in which runtime.

    Attributes:
        source: an image, a folder of images, a video, the number of a camera or a URL.
        model: an ONNX file of this project.
        runtime: that runs it.
        score: detections have a higher one.
        iou: of two boxes of a class that overlap more, the better one is kept.
        threads: of the runtime.
        compare: show what ONNX FP32 finds beside it, and measure how far the two agree.
        frames: the number of images or frames after which it ends; None: all.
    """

    source: str | None
    model: str
    runtime: Annotated[str, OneOf(*RUNTIMES)]
    score: Annotated[float, Range(least=0, below=1)]
    iou: Annotated[float, Range(least=0, most=1)]
    threads: Annotated[int | str, ThreadCount()]
    compare: bool
    frames: Annotated[int | None, Range(least=1)]

    @property
    def cpu_threads(self) -> int:
        """The number of threads of the runtime."""
        return processors_for(self.threads)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of each value that cannot be used."""
        if not self.source:
            yield "source", "must be an image, a folder of images, a video, the number of a camera or a URL, got none"
