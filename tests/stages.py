"""What the tests of training stages share: a project in miniature and a run that remembers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from src.detector.checkpoint import save_detector
from src.detector.criterion import MakeCriterion
from src.detector.training import train
from src.foundation.prepared import class_names, images_of
from src.trainings import job
from src.workflow import tracking
from tests.conftest import TINY_TRAINING

TINY: dict[str, Any] = {key: value for key, value in TINY_TRAINING.items() if key not in ("mosaic", "close_mosaic")}
TINY = {**TINY, "epochs": 1, "threads": 1, "device": "cpu", "augmentation.close_mosaic": 0}


class Diary(tracking.Run):
    """A run that remembers what was recorded below it, and nothing else."""

    def __init__(self) -> None:
        self.below: list[str] = []
        self.measured: list[Any] = []  # apart from those of an epoch
        self.kept: dict[str, bytes] = {}  # the content of files, by name

    def child(self, name: str, params: Any, metrics: Any) -> None:
        assert 0 <= metrics["val"]["map50_95"] <= 1
        self.below.append(name)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self.kept[path.name] = path.read_bytes() if path.is_file() else b""

    def metrics(self, metrics: Any, step: int | None = None) -> None:
        if step is None:
            self.measured.append(metrics)

    def tags(self, values: Any) -> None:
        pass

    def dataset(self, *arguments: Any) -> None:
        pass


def detector(prepared: Path, path: Path, seed: int) -> None:
    """Write a detector that knows nothing yet."""
    torch.manual_seed(seed)
    network = DetectionModel("yolov8n.yaml", nc=10, verbose=False)
    network.names = dict(enumerate(class_names(prepared)))
    save_detector(network, path, 64)


def small_project(root: Path, prepared: Path) -> Path:
    """Make `root` a folder with prepared data, a teacher and a student, images without labels and predictions.

    The predictions are a box of each training image, of some of the images without labels, and of one of val.
    """
    (root / "data").mkdir()
    (root / "data/prepared").symlink_to(prepared)
    unlabelled = root / "data/unlabelled"
    unlabelled.mkdir()
    for path in sorted((prepared / "images/train").iterdir())[:10]:
        shutil.copy(path, unlabelled / path.name)
    predicted = [
        *(f"images/train/{path.name}" for path in images_of(prepared, "train")),
        *(f"data/unlabelled/{path.name}" for path in sorted(unlabelled.iterdir())[:4]),
        images_of(prepared, "val")[0].name,
    ]
    (root / "data/predictions").mkdir()
    results = [
        {"image_id": image, "category_id": 1, "bbox": [index, 5, 20, 30], "score": 0.75}
        for index, image in enumerate(predicted)
    ]
    (root / "data/predictions/results.json").write_text(json.dumps(results))
    (root / "data/predictions/ids.json").write_text(json.dumps({"images": [], "categories": [{"id": 1, "name": "7"}]}))
    (root / "models").mkdir()
    detector(prepared, root / "models/teacher.pt", 5)
    detector(prepared, root / "models/student.pt", 6)
    return root


def trained_with(monkeypatch: pytest.MonkeyPatch) -> list[MakeCriterion | None]:
    """Return a list that gets what makes the loss of each training from now on."""
    criteria: list[MakeCriterion | None] = []

    def seen(*arguments: Any, make_criterion: MakeCriterion | None = None, **options: Any) -> Any:
        criteria.append(make_criterion)
        return train(*arguments, make_criterion=make_criterion, **options)

    monkeypatch.setattr(job, "train", seen)
    return criteria
