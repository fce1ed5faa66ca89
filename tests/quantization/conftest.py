from __future__ import annotations

from pathlib import Path

import pytest

from tests.quantization.networks import exported_detector


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports of untrained detectors, by architecture."""
    folder = tmp_path_factory.mktemp("networks")
    kinds = {"yolov8n": 3, "yolo11n": 3, "yolo26n": 3, "yolov8n of one class": 1}
    found = {kind: exported_detector(kind.split()[0], classes, folder) for kind, classes in kinds.items()}
    return {**found, "yolov8n with ReLU": exported_detector("yolov8n", 3, folder, "relu")}
