"""Training a detector by ultralytics' own trainer, made resumable to the bit."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import DetectionModel

from src.detector.criterion import MakeCriterion
from src.detector.trainer import OnEpoch, Trained, TrainerExtras, trainer_with
from src.foundation.errors import SettingError, UserError


@dataclass(frozen=True)
class NewNetwork:
    """A network that is built for the classes of the dataset.

    Attributes:
        architecture: its YAML.
        activation: one of `ACTIVATIONS` in place of the architecture's own; None: its own (SiLU in ultralytics').
        weights: initial weights. The branches that score classes are left out if there are other classes. None: random.
    """

    architecture: str
    activation: str | None = None
    weights: DetectionModel | None = None


def train(
    network: NewNetwork | DetectionModel,
    data_yaml: Path,
    arguments: Mapping[str, Any],
    *,
    device: str,
    checkpoint: Path,
    make_criterion: MakeCriterion | None = None,
    on_epoch: OnEpoch = lambda epoch, metrics: None,
) -> Trained:
    """Train a detector and return the weights of its best epoch.

    Args:
        network: a new one, or one to train further as it is.
        data_yaml: the dataset in ultralytics' form.
        arguments: of the trainer, under ultralytics' names.
        device: "cpu" or a CUDA index; several with commas between: one process on each, with its part of every batch.
        checkpoint: where the state of the last epoch is kept. If the file is there, the training goes on from it, or is
            over. The caller removes it afterwards.
        make_criterion: makes the training loss; None: ultralytics' own.
        on_epoch: called after every epoch with its number, from 1, and its metrics; at once for those before an
            interruption, and for several devices at the end.

    Raises:
        UserError: the loss or the weights are no longer finite; the batch cannot be shared out among the devices; the
            initial weights are those of another architecture.
    """
    devices = device.count(",") + 1
    if arguments["batch"] % devices:
        raise SettingError("batch", f"must be a multiple of the {devices} devices, got {arguments['batch']}")
    new = network if isinstance(network, NewNetwork) else None
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        overrides = {
            **arguments,
            "task": "detect",
            "model": new.architecture if new else "yolov8n.yaml",  # a network to train further takes its place below
            "data": str(data_yaml),
            "device": device,
            "nbs": arguments[
                "batch"
            ],  # a step per batch: gradients accumulated across epochs could not be resumed exactly
            "cos_lr": True,
            "amp": "bf16" if device != "cpu" else False,  # True would download weights to check itself with
            "deterministic": True,
            "plots": False,
            "pretrained": False,
            "project": scratch,
            "name": "trainer",
        }
        extras = TrainerExtras(
            checkpoint, make_criterion, new.activation if new else None, new.weights if new else None
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
