"""A detector that finds something after half a minute of training: coloured rectangles on noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from src.detector import runtime
from src.detector.checkpoint import save_detector
from src.detector.training import NewNetwork, train
from tests.conftest import TINY_TRAINING

IMGSZ = 64
COLOURS = {"blue": (40, 40, 230), "red": (230, 40, 40)}


def rectangles(folder: Path) -> Path:
    """Write a prepared dataset, and return its data.yaml."""
    random = np.random.default_rng(0)
    for split, number in {"train": 32, "val": 4, "test": 4}.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(number):
            pixels = (114 + random.integers(-10, 10, (IMGSZ, IMGSZ, 3))).astype(np.uint8)
            rows = []
            for left in (0, IMGSZ // 2):  # one in each half
                label = int(random.integers(len(COLOURS)))
                width, height = (int(side) for side in random.integers(14, 26, 2))
                x, y = left + int(random.integers(32 - width)), int(random.integers(IMGSZ - height))
                pixels[y : y + height, x : x + width] = list(COLOURS.values())[label]
                box = np.array([x + width / 2, y + height / 2, width, height]) / IMGSZ
                rows.append(f"{label} {' '.join(map(str, box))}\n")
            Image.fromarray(pixels).save(images / f"{split}_{index}.png")
            (labels / f"{split}_{index}.txt").write_text("".join(rows))
    names = dict(enumerate(COLOURS))
    splits = {split: f"images/{split}" for split in ("train", "val", "test")}
    (folder / "data.yaml").write_text(yaml.safe_dump({"path": str(folder), **splits, "names": names}))
    (folder / "manifest.csv").write_text("path,md5\n")
    return folder / "data.yaml"


def train_on_rectangles(data_yaml: Path, weights: Path) -> None:
    """Train a yolov8n for 240 steps and write its .pt file."""
    runtime.settle("cpu", 1)
    budget = {"epochs": 60, "batch": 8, "lr0": 0.002, "lrf": 0.1, "weight_decay": 0.0, "warmup_epochs": 0.0}
    plain = dict.fromkeys(("mosaic", "close_mosaic", "translate", "scale", "hsv_h", "hsv_s", "hsv_v"), 0)
    arguments = {**TINY_TRAINING, **budget, **plain, "imgsz": IMGSZ, "patience": 1000}
    checkpoint = weights.with_suffix(".state.pt")
    trained = train(NewNetwork("yolov8n.yaml"), data_yaml, arguments, device="cpu", checkpoint=checkpoint)
    save_detector(trained.network, weights, IMGSZ)
