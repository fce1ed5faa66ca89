from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import DetectionModel

from src.detector.dataset import view_of
from src.pruning.gradients import AUGMENTATION, add_gradients
from tests.conftest import TINY_TRAINING


def gradients(prepared: Path, **augmentation: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = DetectionModel("yolov8n.yaml", nc=10, verbose=False).eval()
    with view_of(prepared) as data:
        add_gradients(network, data, {**TINY_TRAINING, **augmentation}, batches=1)
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def test_gradients_use_images_without_augmentation(prepared: Path) -> None:
    plain = gradients(prepared, **dict.fromkeys(AUGMENTATION, 0.0))
    training = gradients(prepared, fliplr=1.0, hsv_v=0.9, translate=0.5, scale=0.5, mosaic=1.0)
    assert sum(float(gradient.abs().sum()) for gradient in plain.values()) > 0
    assert all(torch.equal(plain[name], training[name]) for name in plain)
