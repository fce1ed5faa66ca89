"""Training of a detector with ultralytics' own trainer, resumable to the bit."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import DetectionModel

from src.detector.checkpoint import find_architecture
from src.detector.criterion import MakeCriterion
from src.detector.trainer import OnEpoch, Trained, TrainerExtras, trainer_with
from src.foundation.errors import SettingError, UserError
from src.foundation.image_size import height_width


@dataclass(frozen=True)
class NewNetwork:
    """A network that is built for the classes of the dataset.

    Attributes:
        architecture: its YAML.
        activation: one of `ACTIVATIONS` instead of the architecture's own; None: its own (SiLU in ultralytics').
        weights: initial weights; None: random. Tensors of the classification branches are skipped if their shape
            differs, as for another number of classes.

    Raises:
        UserError: the architecture is unknown.
    """

    architecture: str
    activation: str | None = None
    weights: DetectionModel | None = None

    def __post_init__(self) -> None:
        find_architecture(self.architecture)


def train(
    network: NewNetwork | DetectionModel,
    data_yaml: Path,
    arguments: Mapping[str, Any],
    *,
    device: str,
    checkpoint: Path,
    dtype: torch.dtype = torch.float32,
    make_criterion: MakeCriterion | None = None,
    on_epoch: OnEpoch = lambda epoch, metrics: None,
) -> Trained:
    """Train a detector and return the weights of its best epoch.

    Args:
        network: a new network, or one that is trained further as it is.
        data_yaml: the dataset in ultralytics' format.
        arguments: the trainer's arguments, under ultralytics' names; `imgsz` may be (height, width).
        device: "cpu" or a CUDA index; with several, separated by commas, each runs one process with its part of every
            batch.
        checkpoint: file for the state of the last epoch. If it exists, the training resumes from it, or returns at once
            if it had ended. One that is damaged is removed: the training starts anew. The caller deletes the file
            afterwards.
        dtype: float32, or bfloat16 for the forward pass and its gradients. Weights and loss are in float32.
        make_criterion: makes the training loss; None: ultralytics' own.
        on_epoch: called after every epoch with its number, from 1, and its metrics. A resumed training first reports
            the epochs before the interruption. With several devices all epochs are reported at the end.

    Raises:
        SettingError: the batch cannot be divided among the devices.
        UserError: the loss or the weights are no longer finite; the initial weights are from another architecture; a
            process of the training failed.
    """
    devices = device.count(",") + 1
    if arguments["batch"] % devices:
        raise SettingError("batch", f"must be a multiple of the {devices} devices, got {arguments['batch']}")
    size_hw = height_width(arguments["imgsz"])
    new = network if isinstance(network, NewNetwork) else None
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        overrides = {
            **arguments,
            "task": "detect",
            "model": new.architecture if new else "yolov8n.yaml",  # replaced below by a network to train further
            "data": str(data_yaml),
            "imgsz": max(size_hw),  # ultralytics takes one side; `TrainerExtras` has both
            "device": device,
            # A step per batch: gradients accumulated across epochs could not be resumed exactly.
            "nbs": arguments["batch"],
            "cos_lr": True,
            "amp": False,  # it would compute the loss in 16 bits too, and on the CPU there is none: see `dtype`
            "deterministic": True,
            "plots": False,
            "pretrained": False,
            "project": scratch,
            "name": "trainer",
        }
        extras = TrainerExtras(
            checkpoint, make_criterion, new.activation if new else None, new.weights if new else None, dtype, size_hw
        )
        trainer = trainer_with(extras)(overrides=overrides)
        trainer.on_epoch = on_epoch
        if isinstance(network, DetectionModel):
            trainer.model = network
        try:
            if not trainer.is_over():
                trainer.train()
        except subprocess.CalledProcessError as error:
            raise UserError(f"a process of the training on {device} failed; its messages are above") from error
        return trainer.trained()
