from __future__ import annotations

from pathlib import Path

import pytest
from ultralytics.nn.tasks import DetectionModel

from src.deployment.export import export_onnx
from src.detector.checkpoint import save_detector
from src.detector.dataset import view_of
from src.detector.training import NewNetwork, train
from src.foundation.errors import SettingError
from tests.conftest import TINY_TRAINING

MESSAGE = "^imgsz must be a multiple of 64, the coarsest stride of this network, got 96$"


def test_a_network_with_a_p6_level_is_not_trained_at_a_size_that_it_cannot_take(tmp_path: Path, prepared: Path) -> None:
    epochs = []
    with view_of(prepared) as data, pytest.raises(SettingError, match=MESSAGE):
        train(
            NewNetwork("yolov8n-p6.yaml"),
            data,
            {**TINY_TRAINING, "imgsz": 96},
            device="cpu",
            checkpoint=tmp_path / "state.pt",
            on_epoch=lambda epoch, metrics: epochs.append(epoch),
        )
    assert not epochs


def test_a_network_is_not_exported_for_a_size_that_it_cannot_take(tmp_path: Path) -> None:
    network = DetectionModel("yolov8n-p6.yaml", nc=3, verbose=False)
    save_detector(network, tmp_path / "p6.pt", 96)
    with pytest.raises(SettingError, match=MESSAGE):
        export_onnx(tmp_path / "p6.pt", tmp_path / "p6.onnx", 96)
    assert not (tmp_path / "p6.onnx").exists()


def test_both_sides_are_checked(tmp_path: Path) -> None:
    network = DetectionModel("yolov8n-p6.yaml", nc=3, verbose=False)
    save_detector(network, tmp_path / "p6.pt", (96, 128))
    with pytest.raises(SettingError, match=r"must be a multiple of 64, .* got \[96, 128\]$"):
        export_onnx(tmp_path / "p6.pt", tmp_path / "p6.onnx", (96, 128))
