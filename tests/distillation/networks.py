"""Small detectors and a batch for the tests of losses."""

from __future__ import annotations

import torch
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from src.detector.criterion import TrainingContext

NAMES = ("cat", "dog")


def network(seed: int, architecture: str = "yolov8n.yaml", names: tuple[str, ...] = NAMES) -> DetectionModel:
    torch.manual_seed(seed)
    built = DetectionModel(architecture, nc=len(names), verbose=False)
    built.names = dict(enumerate(names))
    built.args = get_cfg()
    _enliven(built)
    return built


def _enliven(built: DetectionModel) -> None:
    """Make an untrained network's predictions differ between locations, confident at some and unsure at others."""
    head = built.model[-1]
    for branches in (head.cv3, getattr(head, "one2one_cv3", None) or ()):
        for branch in branches:
            torch.nn.init.normal_(branch[-1].weight, std=0.1)
            torch.nn.init.constant_(branch[-1].bias, -4.0)
    norms = [module for module in built.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momentum = norms[0].momentum
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        built.train()(torch.rand(4, 3, 64, 64))
    for norm in norms:
        norm.momentum = momentum


def in_training(student: DetectionModel) -> TrainingContext:
    def no_data(*arguments: object) -> None:
        raise AssertionError("this test needs no data")

    return TrainingContext(student, no_data, no_data, seed=0, epochs=4)


def batch_of_two() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {
        "img": torch.rand(2, 3, 64, 64, generator=generator),
        "batch_idx": torch.tensor([0.0, 1.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [0.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.3, 0.2], [0.7, 0.6, 0.5, 0.5]]),
    }
