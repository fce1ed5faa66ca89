from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.modules.conv import Conv

from src.detector import runtime
from src.detector.checkpoint import load_detector, save_detector
from src.detector.dataset import class_names, view_of
from src.detector.training import Trained, train
from src.distillation.loss import distillation_from
from tests.conftest import TINY_TRAINING


class KilledError(Exception):
    pass


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    runtime.settle("cpu", 2)


def trained(data: Path, checkpoint: Path, settings: Mapping[str, Any], killed_after: int | None = None) -> Trained:
    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch == killed_after:
            raise KilledError

    return train("yolov8n.yaml", data, settings, device="cpu", checkpoint=checkpoint, on_epoch=on_epoch)


@pytest.mark.parametrize(
    ("batch", "killed_after", "close_mosaic"),
    [
        pytest.param(8, 1, 1, id="last batch is smaller"),
        pytest.param(10, 1, 1, id="last batch is full"),
        pytest.param(10, 2, 1, id="mosaic closes next"),
        pytest.param(8, 2, 2, id="mosaic was closed"),
    ],
)
def test_a_killed_training_ends_with_the_same_bytes(
    prepared: Path, tmp_path: Path, batch: int, killed_after: int, close_mosaic: int
) -> None:
    settings = {**TINY_TRAINING, "batch": batch, "close_mosaic": close_mosaic}
    with view_of(prepared) as data:
        whole = trained(data, tmp_path / "whole.ckpt", settings)
        with pytest.raises(KilledError):
            trained(data, tmp_path / "killed.ckpt", settings, killed_after)
        resumed = trained(data, tmp_path / "killed.ckpt", settings)
    assert resumed.history == whole.history
    save_detector(whole.network, tmp_path / "whole.pt", 64)
    save_detector(resumed.network, tmp_path / "resumed.pt", 64)
    assert (tmp_path / "whole.pt").read_bytes() == (tmp_path / "resumed.pt").read_bytes()


def test_alpha_zero_is_plain_ultralytics_to_the_bit(prepared: Path, tmp_path: Path) -> None:
    with view_of(prepared) as data:
        plain = DetectionTrainer(
            overrides={
                **TINY_TRAINING,
                "model": "yolov8n.yaml",
                "data": str(data),
                "device": "cpu",
                "nbs": TINY_TRAINING["batch"],
                "cos_lr": True,
                "amp": False,
                "plots": False,
                "pretrained": False,
                "project": str(tmp_path),
                "name": "plain",
            }
        )
        plain.train()
        teacher = trained(data, tmp_path / "teacher.ckpt", {**TINY_TRAINING, "epochs": 1}).network
        ours = train(
            "yolov8n.yaml",
            data,
            TINY_TRAINING,
            device="cpu",
            checkpoint=tmp_path / "ours.ckpt",
            make_criterion=distillation_from(
                teacher, class_names(prepared), temperature=2.0, alpha=0.0, response=1.0, localization=1.0
            ),
        )
    last = torch.load(tmp_path / "ours.ckpt", weights_only=False)["moving_average"]
    for name, weights in plain.ema.ema.state_dict().items():
        assert torch.equal(weights, last[name]), name
    best = load_detector(tmp_path / "plain/weights/best.pt", trust=True).state_dict()
    for name, weights in ours.network.half().state_dict().items():
        assert torch.equal(weights.float(), best[name].float()), name


def test_distillation_changes_the_weights_and_leaves_the_teacher_alone(prepared: Path, tmp_path: Path) -> None:
    settings = {**TINY_TRAINING, "epochs": 1}
    with view_of(prepared) as data:
        teacher = trained(data, tmp_path / "teacher.ckpt", settings).network
        before = {name: weights.clone() for name, weights in teacher.state_dict().items()}
        criterion = distillation_from(
            teacher, class_names(prepared), temperature=2.0, alpha=0.5, response=1.0, localization=1.0
        )
        plain, distilled = (
            train(
                "yolov8n.yaml",
                data,
                settings,
                device="cpu",
                checkpoint=tmp_path / f"{index}.ckpt",
                make_criterion=make_criterion,
            )
            for index, make_criterion in enumerate([None, criterion])
        )
    assert {"train/response", "train/localization"} <= set(distilled.history[0])
    assert any(
        not torch.equal(weights, distilled.network.state_dict()[name])
        for name, weights in plain.network.state_dict().items()
    )
    assert all(torch.equal(weights, before[name]) for name, weights in teacher.state_dict().items())


def test_training_writes_nothing_into_the_dataset(prepared: Path, tmp_path: Path) -> None:
    before = sorted(prepared.rglob("*"))
    with view_of(prepared) as data:
        trained(data, tmp_path / "state.ckpt", {**TINY_TRAINING, "epochs": 1})
    assert sorted(prepared.rglob("*")) == before


@pytest.mark.parametrize(("activation", "expected"), [("relu", torch.nn.ReLU), ("hardswish", torch.nn.Hardswish)])
def test_a_network_is_trained_with_the_activation_asked_for(
    prepared: Path, tmp_path: Path, activation: str, expected: type
) -> None:
    settings = {**TINY_TRAINING, "epochs": 1}
    with view_of(prepared) as data:
        network = train(
            "yolov8n.yaml", data, settings, device="cpu", checkpoint=tmp_path / "c.pt", activation=activation
        ).network
    save_detector(network, tmp_path / "d.pt", 64)
    kinds = {type(module) for module in load_detector(tmp_path / "d.pt").modules()}
    assert expected in kinds
    assert torch.nn.SiLU not in kinds
    assert isinstance(Conv.default_act, torch.nn.SiLU), "networks built later keep theirs"
