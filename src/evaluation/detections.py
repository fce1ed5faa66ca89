"""The detections of an ONNX detector in image files, by ultralytics, as in `yolo predict`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from src.deployment.detections import Detections
from src.detector.runtime import settle
from src.foundation.image_size import ImageSize, height_width

LEAST_SCORE = 0.25
"""The default threshold of ultralytics; below it are thousands of boxes that nobody would look at."""


def detect(network: Path, images: Sequence[Path], *, imgsz: ImageSize, threads: int) -> Iterator[Detections]:
    """Yield the detections of each of `images`, on the CPU.

    Args:
        network: an .onnx file with ultralytics' metadata.
        images: image files.
        imgsz: px, size of the input that the network was exported for.
        threads: of torch, which computes the non-maximum suppression.
    """
    # Not at the top of the file: src.detector must be imported first, as it configures ultralytics.
    from ultralytics import YOLO

    detector = YOLO(network, task="detect")
    device = settle("cpu", threads)
    for image in images:
        [result] = detector.predict(
            str(image), imgsz=height_width(imgsz), conf=LEAST_SCORE, device=device, verbose=False
        )
        boxes = result.boxes.cpu().numpy()
        yield Detections(
            boxes_xyxy=boxes.xyxy.astype(np.float64),
            scores=boxes.conf.astype(np.float64),
            classes=boxes.cls.astype(np.int64),
        )
