"""Gradients of the training loss, for an importance that reads them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import init_seeds

from src.detector.fitted_dataset import fit
from src.foundation.image_size import height_width

AUGMENTATION = ("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "fliplr", "flipud", "mosaic", "mixup")
"""ultralytics' names of the settings that change images."""


def add_gradients(network: DetectionModel, data_yaml: Path, settings: Mapping[str, Any], *, batches: int) -> None:
    """Add the gradients of ultralytics' own loss on training images to the parameters of a network, on the CPU.

    Args:
        network: in eval mode. It stays in eval mode, so that the statistics of batch normalization do not change.
        data_yaml: the dataset in ultralytics' format.
        settings: trainer arguments under ultralytics' names; augmentation is turned off.
        batches: number of batches, the first ones of the first epoch.
    """
    with tempfile.TemporaryDirectory(prefix="gradients-") as scratch:
        overrides = {**settings, "task": "detect", "model": "yolov8n.yaml", "data": str(data_yaml), "device": "cpu"}
        overrides |= {**dict.fromkeys(AUGMENTATION, 0.0), "project": scratch, "name": "trainer"}
        overrides["imgsz"] = max(height_width(settings["imgsz"]))
        trainer = DetectionTrainer(overrides=overrides)
        init_seeds(settings["seed"] + 1, deterministic=True)
        network.args = trainer.args
        trainer.model = network
        criterion = network.init_criterion()
        loader = trainer.get_dataloader(trainer.data["train"], batch_size=settings["batch"], rank=-1, mode="train")
        fit(loader.dataset, settings["imgsz"])
        for batch in islice(loader, batches):
            batch = trainer.preprocess_batch(batch)
            loss, _ = criterion(network(batch["img"]), batch)
            loss.sum().backward()
