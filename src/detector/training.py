"""Training by ultralytics' own trainer, made resumable to the bit and free of what it would write on its own."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.utils.torch_utils import unwrap_model

from src import files
from src.errors import UserError

Predictions = Mapping[str, Tensor]
Batch = Mapping[str, Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]

ACTIVATIONS = {"silu": "torch.nn.SiLU()", "relu": "torch.nn.ReLU()", "hardswish": "torch.nn.Hardswish()"}
"""What an architecture's YAML calls them."""


class Criterion(Protocol):
    """A training loss with the interface of ultralytics' own.

    Called with the network's raw predictions and the batch it returns the loss, to be summed and already multiplied by
    the batch size, and its detached parts by name.
    """

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in parts, and its detached parts by name."""


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        network: the weights of the best epoch by val mAP50-95 (the moving average that ultralytics keeps), float32.
        best_epoch: which one that was, from 1.
        history: the metrics of every epoch; fewer than asked for where training stopped early.
    """

    network: DetectionModel
    best_epoch: int
    history: tuple[dict[str, float], ...]


def train(
    network: str | DetectionModel,
    data_yaml: Path,
    settings: Mapping[str, Any],
    *,
    device: str,
    checkpoint: Path,
    activation: str | None = None,
    weights: DetectionModel | None = None,
    make_criterion: Callable[[DetectionModel], Criterion] | None = None,
    on_epoch: OnEpoch = lambda epoch, metrics: None,
) -> Trained:
    """Train a detector and return the weights of its best epoch.

    Args:
        network: an architecture's YAML, built for the classes of the dataset, or a network to train further as it is.
        data_yaml: the dataset in ultralytics' form.
        settings: trainer arguments under ultralytics' names.
        device: "cpu" or a CUDA index.
        checkpoint: where the state of the last epoch is kept; if the file is there, training goes on from it. The
            caller removes it afterwards.
        activation: one of `ACTIVATIONS` in place of the architecture's own; None: its own (SiLU in ultralytics').
        weights: start from these where their shapes fit the architecture.
        make_criterion: builds the training loss for the network that is trained; None: ultralytics' own.
        on_epoch: called after every epoch with its number, from 1, and its metrics.

    Raises:
        UserError: the loss or the weights are no longer finite.
    """
    with tempfile.TemporaryDirectory(prefix="training-") as scratch:
        overrides = {
            **settings,
            "task": "detect",
            "model": network if isinstance(network, str) else "yolov8n.yaml",
            "data": str(data_yaml),
            "device": device,
            "nbs": settings["batch"],  # a step per batch: what accumulates across epochs could not be resumed exactly
            "cos_lr": True,
            "amp": "bf16" if device != "cpu" else False,  # True would download weights to check itself with
            "deterministic": True,
            "plots": False,
            "pretrained": False,
            "project": scratch,
            "name": "trainer",
        }
        trainer = ResumableTrainer(overrides, checkpoint, make_criterion, on_epoch)
        if isinstance(network, DetectionModel):
            trainer.model = network
        trainer.activation = activation
        trainer.initial_weights = weights
        trainer.train()
    return trainer.trained()


class ResumableTrainer(DetectionTrainer):
    """ultralytics' detection trainer that keeps its whole state, unrounded, in one file.

    On the CPU a training that was killed ends with the same bits as one that was not: ultralytics loads data in the
    training process there, so all random generators are in reach. With loader processes (CUDA) it goes on from its last
    epoch with other augmentations than it would have drawn. ultralytics' own checkpoint rounds weights and optimizer to
    half precision and forgets the generators.
    """

    activation: str | None = None
    initial_weights: DetectionModel | None = None

    def __init__(
        self,
        overrides: dict[str, Any],
        checkpoint: Path,
        make_criterion: Callable[[DetectionModel], Criterion] | None,
        on_epoch: OnEpoch,
    ) -> None:
        super().__init__(overrides=overrides)
        self.checkpoint = checkpoint
        self.make_criterion = make_criterion
        self.best: dict[str, Any] = {}  # epoch and weights
        self.history: list[dict[str, float]] = []
        self.add_callback("on_fit_epoch_end", lambda trainer: on_epoch(trainer.epoch + 1, trainer.history[-1]))

    def setup_model(self) -> Any:
        """Build the network, and start it from the initial weights if there are any."""
        given = isinstance(self.model, nn.Module)
        checkpoint = super().setup_model()
        if given:
            for parameter in self.model.parameters():
                parameter.requires_grad = True  # saved checkpoints come frozen
        if self.initial_weights is not None:
            self.model.load(self.initial_weights)
        return checkpoint

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Build the architecture for the classes of the dataset, with the activation that was asked for."""
        if self.activation is not None:
            cfg = {**yaml_model_load(cfg), "activation": ACTIVATIONS[self.activation]}
        return super().get_model(cfg, weights, verbose)

    def _setup_train(self) -> None:
        super()._setup_train()
        if self.make_criterion is not None:
            # Only now: the moving average is a copy of the network and must not carry the criterion's teacher along.
            network = unwrap_model(self.model)
            network.criterion = self.make_criterion(network)

    def _epoch_metrics(self) -> dict[str, float]:
        """Return the metrics of the epoch that has just ended, under the names used everywhere in this project."""
        losses = self.label_loss_items(self.tloss, prefix="train")
        return {
            **{name: float(value) for name, value in losses.items()},
            "map50_95": float(self.metrics["metrics/mAP50-95(B)"]),
            "map50": float(self.metrics["metrics/mAP50(B)"]),
            "precision": float(self.metrics["metrics/precision(B)"]),
            "recall": float(self.metrics["metrics/recall(B)"]),
            "learning_rate": float(self.lr["lr/pg0"]),
        }

    def trained(self) -> Trained:
        """Return the outcome, once training is over."""
        network = self.ema.ema
        network.load_state_dict(self.best["weights"])
        return Trained(network, self.best["epoch"] + 1, tuple(self.history))

    def final_eval(self) -> None:
        """Leave the final evaluation to the caller."""

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write no CSV: metrics go to `on_epoch`."""

    def _handle_nan_recovery(self, epoch: int) -> bool:
        if self.loss is not None and not torch.isfinite(self.loss):
            raise UserError(f"training diverged: the loss is {float(self.loss)} in epoch {epoch + 1}: lower lr0")
        return False

    def save_model(self) -> bool:
        """Keep the best weights, and write the whole state of training to the checkpoint file."""
        if self.best_fitness == self.fitness:
            self.best = {"epoch": self.epoch, "weights": deepcopy(self.ema.ema.state_dict())}
        self.history.append(self._epoch_metrics())
        state = {
            "epoch": self.epoch,
            "network": unwrap_model(self.model).state_dict(),
            "moving_average": self.ema.ema.state_dict(),
            "moving_average_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "stopper": {"best_fitness": self.stopper.best_fitness, "best_epoch": self.stopper.best_epoch},
            "best_fitness": self.best_fitness,
            "best": self.best,
            "history": self.history,
            "random": _generator_states(),
            "order": self.train_loader.generator.get_state(),
            "mosaic_buffer": list(self.train_loader.dataset.buffer),
            "criterion_updates": getattr(unwrap_model(self.model).criterion, "updates", None),
        }
        with files.whole_file(self.checkpoint) as partial:
            torch.save(state, partial)
        return True

    def resume_training(self, ckpt: Any) -> None:
        """Go on from the checkpoint file if there is one."""
        if not self.checkpoint.is_file():
            return
        # Our own file, whose name carries the digest of parameters, inputs and code: it holds numpy and random states.
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=False)
        unwrap_model(self.model).load_state_dict(state["network"])
        self.ema.ema.load_state_dict(state["moving_average"])
        self.ema.updates = state["moving_average_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.stopper.__dict__.update(state["stopper"])
        self.best_fitness = state["best_fitness"]
        self.best = state["best"]
        self.history = state["history"]
        self.start_epoch = state["epoch"] + 1
        if state["criterion_updates"] is not None:  # the loss of end-to-end heads shifts its balance every epoch
            network = unwrap_model(self.model)
            network.criterion = network.init_criterion()
            network.criterion.updates = state["criterion_updates"] - 1
            network.criterion.update()
        if self.train_loader.num_workers == 0:
            self._resume_data(state)
        _restore_generators(state["random"])

    def _resume_data(self, state: Mapping[str, Any]) -> None:
        """Put the loader where it stood when the epoch of `state` had ended."""
        loader, dataset = self.train_loader, self.train_loader.dataset
        dataset.buffer.clear()
        for index in state["mosaic_buffer"]:
            dataset.load_image(index)  # appends to the buffer
        mosaic_closes = self.epochs - self.args.close_mosaic
        if not self.args.close_mosaic or self.start_epoch != mosaic_closes:
            # The loader was not started anew after that epoch. Starting it here draws a number; the state is set after.
            loader.iterator = loader._get_iterator()
            loader.generator.set_state(state["order"].cpu())
            if len(dataset) % loader.batch_size == 0:
                # RandomSampler draws a last permutation, of which it needs nothing, when it is found exhausted: after a
                # full last batch that happens at the start of the next epoch.
                torch.randperm(len(dataset), generator=loader.generator)
            if self.args.close_mosaic and self.start_epoch > mosaic_closes:
                loader.reset = lambda: None  # the trainer closes the mosaic again, but must not restart the loader
        else:
            loader.generator.set_state(state["order"].cpu())


def _generator_states() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore_generators(states: Mapping[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"]:
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
