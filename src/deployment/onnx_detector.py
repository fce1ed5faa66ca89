"""A detector's ONNX file from the pixels of an image to its detections, without torch."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.deployment.description import describe
from src.deployment.detections import Detections, read_output
from src.deployment.letterbox import letterbox
from src.deployment.runner import open_runner

STEPS = ("preprocessing", "network", "reading")
"""Of a detection: the letterbox; the forward pass; threshold, suppression and the way back to the image."""


class OnnxDetector:
    """A detector that is ready to run on the CPU.

    Args:
        network: an ONNX file.
        runtime: one of `RUNTIMES`.
        threads: of the runtime.
        cache: see `open_runner`.

    Raises:
        UserError: the file is no detector of this project, or the runtime is missing or cannot run it.

    Attributes:
        names: of the classes, by index.
        imgsz: px, height and width of its input.
    """

    def __init__(self, network: Path, runtime: str, threads: int, cache: Path) -> None:
        description = describe(network)
        self.names, self.imgsz = description.names, description.imgsz
        self._run = open_runner(network, runtime, threads, cache)

    def detect(self, image: NDArray[np.uint8], score: float, iou: float) -> tuple[Detections, tuple[float, ...]]:
        """Return the detections in an image, and the ms of each of `STEPS`.

        Args:
            image: (H, W, 3), BGR.
            score: see `read_output`.
            iou: see `read_output`.
        """
        seconds = [time.perf_counter()]
        pixels, placement = letterbox(image, self.imgsz)
        seconds.append(time.perf_counter())
        output = self._run(pixels)
        seconds.append(time.perf_counter())
        detections = read_output(output, placement, score, iou)
        seconds.append(time.perf_counter())
        return detections, tuple(np.diff(seconds) * 1000)
