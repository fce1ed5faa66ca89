"""write_predictions: a detector's boxes in the training images, for `teaching=predictions`: `python -m
src.write_predictions`.

Reads data/prepared, the images of `folder` and a .pt detector. Writes predictions.json in the form of COCO's results,
which can lie in data/predictions, and predictions.csv. By hand only; it is not recorded in MLflow.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("write_predictions")

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionPredictor
from ultralytics.utils import nms

from src.config.write_predictions import WritePredictions
from src.deployment.detections import Detections
from src.detector.checkpoint import load_detector
from src.detector.runtime import settle
from src.foundation.errors import SettingError
from src.foundation.pipeline import PREPARED
from src.foundation.prepared import images_of
from src.labels.faults import counted
from src.reporting.detection_files import detection_files
from src.teaching.unlabelled_images import unlabelled_images
from src.workflow.stage_files import StageFiles

_logger = logging.getLogger(__name__)


def run(params: WritePredictions, files: StageFiles) -> None:
    """Write what the detector finds in the training images, with and without labels.

    Raises:
        UserError: the detector or an image cannot be read.
    """
    prepared = files.read(PREPARED)
    model = files.read_own(params.model)
    if not model.is_file():
        raise SettingError("model", f"must be a .pt file of a detector, got {params.model}, which is not there")
    network = load_detector(model)
    names = [network.names[index] for index in sorted(network.names)]
    unlabelled = unlabelled_images(files.read_own(params.folder), prepared, may_be_none=True)
    images = [*images_of(prepared, "train"), *unlabelled]
    written, boxes = files.write("predictions.json"), 0
    with detection_files(written, files.write("predictions.csv"), names) as add:
        for image, detections in zip(images, _detect(model, images, params), strict=True):
            add(os.path.relpath(image, files.project), None, detections)
            boxes += len(detections.scores)
    _logger.info("%s in %s: %s", counted(boxes, "box"), counted(len(images), "image"), written)


class _EveryClass(DetectionPredictor):
    """ultralytics' predictor that gives each class of a box, not the best alone."""

    def postprocess(self, preds: Any, img: Any, orig_imgs: Any, **kwargs: Any) -> Any:
        found = nms.non_max_suppression(
            preds,
            self.args.conf,
            self.args.iou,
            multi_label=True,
            max_det=self.args.max_det,
            end2end=getattr(self.model, "end2end", False),
        )
        return self.construct_results(found, img, orig_imgs)


def _detect(model: Path, images: Sequence[Path], params: WritePredictions) -> Iterator[Detections]:
    device = settle(params.device, params.cpu_threads)
    detector = YOLO(model, task="detect")
    options = {"imgsz": params.imgsz, "conf": params.score, "iou": params.iou, "device": device, "rect": False}
    for image in tqdm(images, "predict", unit="image", mininterval=1):
        [result] = detector.predict(str(image), verbose=False, predictor=_EveryClass, **options)
        boxes = result.boxes.cpu().numpy()
        yield Detections(
            boxes_xyxy=boxes.xyxy.astype(np.float64),
            scores=boxes.conf.astype(np.float64),
            classes=boxes.cls.astype(np.int64),
        )
