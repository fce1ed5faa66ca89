"""What tests of several subjects share."""

from __future__ import annotations

import os

# Before torch is imported: tests run side by side, and threads that wait for each other's cores spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import src.detector  # noqa: F401  # before anything imports ultralytics
from src.labels.digits import compose_scenes
from src.labels.layout import write_yolo
from tests.compared import Compared
from tests.quantization.networks import exported_detector

# dvc.yaml says `python`: the one that runs these tests, also where its environment was not activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

TINY_TRAINING: dict[str, Any] = {
    "imgsz": 64,
    "epochs": 3,
    "batch": 8,
    "optimizer": "AdamW",
    "lr0": 0.002,
    "lrf": 0.01,
    "weight_decay": 0.0005,
    "warmup_epochs": 1.0,
    "patience": 100,
    "seed": 0,
    "workers": 0,
    "mosaic": 0.5,
    "close_mosaic": 1,
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 20 training scenes and 6 of val and test each, 64 px."""
    folder = tmp_path_factory.mktemp("prepared")
    dataset = compose_scenes(
        folder,
        images_per_split={"train": 20, "val": 6, "test": 6},
        size_px=64,
        digits_per_scene=(1, 4),
        digit_size=(0.2, 0.5),
        rotation_deg=10,
        seed=0,
    )
    write_yolo(dataset, folder)
    return folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store of MLflow with its tables: making them takes seconds, so it is done once and copied."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def compared_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of tests/compared.py, made once and copied."""
    folder = tmp_path_factory.mktemp("compared")
    Compared(folder).make()
    return folder


@pytest.fixture
def compared(compared_template: Path, tmp_path: Path) -> Compared:
    """A project in git and DVC, to make two sides of it."""
    return Compared(Path(shutil.copytree(compared_template, tmp_path / "compared")))


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports of untrained detectors, by architecture."""
    folder = tmp_path_factory.mktemp("networks")
    kinds = {"yolov8n": 3, "yolo11n": 3, "yolo26n": 3, "yolov8n of one class": 1}
    found = {kind: exported_detector(kind.split()[0], classes, folder) for kind, classes in kinds.items()}
    return {**found, "yolov8n with ReLU": exported_detector("yolov8n", 3, folder, "relu")}
