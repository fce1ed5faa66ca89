"""What an ONNX detector finds in image files, through ultralytics, as `yolo predict` finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from src.detector.runtime import settle
from src.evaluation.agreement import Detections

LEAST_SCORE = 0.25
"""What ultralytics shows by default; below it are thousands of boxes that nobody would look at."""


def detect(network: Path, images: Sequence[Path], *, imgsz: int, threads: int) -> Iterator[Detections]:
    """Yield what the detector finds in each of `images`, on the CPU.

    Args:
        network: an .onnx file with ultralytics' metadata.
        images: image files.
        imgsz: px, side of the square it was exported for.
        threads: of torch, which suppresses double boxes.
    """
    # Not at the top of the file: src.detector, imported there, has to settle ultralytics' environment first.
    from ultralytics import YOLO

    detector = YOLO(network, task="detect")
    device = settle("cpu", threads)
    for image in images:
        [result] = detector.predict(str(image), imgsz=imgsz, conf=LEAST_SCORE, device=device, verbose=False)
        boxes = result.boxes.cpu().numpy()
        yield Detections(
            boxes_xyxy=boxes.xyxy.astype(np.float64),
            scores=boxes.conf.astype(np.float64),
            classes=boxes.cls.astype(np.int64),
        )
