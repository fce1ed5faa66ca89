"""Training by ultralytics' own trainer, made resumable to the bit and free of what it would write on its own."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, distributed, nn
from ultralytics.data.build import build_yolo_dataset
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.utils import DEFAULT_CFG, RANK
from ultralytics.utils.torch_utils import unwrap_model

from src.foundation.atomic import whole_file
from src.foundation.errors import UserError

Predictions = Mapping[str, Tensor]
Batch = Mapping[str, Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]

ACTIVATIONS = {"silu": "torch.nn.SiLU()", "relu": "torch.nn.ReLU()", "hardswish": "torch.nn.Hardswish()"}
"""What an architecture's YAML calls them."""

LARGEST_GRADIENT = 10.0
"""The norm to which ultralytics clips gradients (`BaseTrainer.optimizer_step`)."""


class Criterion(Protocol):
    """A training loss with the interface of ultralytics' own.

    Called with the network's raw predictions and the batch it returns the loss, to be summed and already multiplied by
    the batch size, and its detached parts by name.
    """

    def __call__(self, predictions: Any, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in parts, and its detached parts by name."""


class OwnCriterion(Criterion, Protocol):
    """A training loss of this project.

    Attributes:
        learned: what is trained along with the network (projectors, a peer), by the same optimizer.
        updates: how many epochs have ended; may be set, when a training goes on.
    """

    learned: nn.Module
    updates: int

    def update(self) -> None:
        """Note that an epoch has ended."""


@dataclass(frozen=True)
class InTraining:
    """What a criterion may need of the training that it is part of.

    Attributes:
        network: the one that is trained.
        batches_of: takes a folder of images, and an epoch, and returns augmented batches (N, 3, H, W) in [0, 1] of them
            without end, with the settings of the training, the same ones whenever that epoch begins with the same
            random state.
        seed: of the training.
        epochs: that it takes, if it does not stop early.
    """

    network: DetectionModel
    batches_of: Callable[[Path, int], Iterator[Tensor]]
    seed: int
    epochs: int


MakeCriterion = Callable[[InTraining], OwnCriterion]


@dataclass(frozen=True)
class Given:
    """What a trainer needs beside ultralytics' arguments.

    Attributes:
        checkpoint: where the state of the last epoch is kept.
        make_criterion: builds the training loss; None: ultralytics' own.
        activation: one of `ACTIVATIONS` in place of the architecture's own; None: its own.
        weights: to start from; see `train`.
    """

    checkpoint: Path
    make_criterion: MakeCriterion | None = None
    activation: str | None = None
    weights: DetectionModel | None = None


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
    make_criterion: MakeCriterion | None = None,
    on_epoch: OnEpoch = lambda epoch, metrics: None,
) -> Trained:
    """Train a detector and return the weights of its best epoch.

    Args:
        network: an architecture's YAML, built for the classes of the dataset, or a network to train further as it is.
        data_yaml: the dataset in ultralytics' form.
        settings: trainer arguments under ultralytics' names.
        device: "cpu" or a CUDA index; several with commas between: a process on each takes its part of every batch.
        checkpoint: where the state of the last epoch is kept; if the file is there, training goes on from it, or is
            over. The caller removes it afterwards.
        activation: one of `ACTIVATIONS` in place of the architecture's own; None: its own (SiLU in ultralytics').
        weights: start from these, but for the branches that score classes if there are other ones.
        make_criterion: builds the training loss; None: ultralytics' own.
        on_epoch: called after every epoch with its number, from 1, and its metrics; at once for those before an
            interruption, and for several devices at the end.

    Raises:
        UserError: the loss or the weights are no longer finite; the batch cannot be shared out among the devices; the
            weights to start from are those of another architecture.
    """
    devices = device.count(",") + 1
    if settings["batch"] % devices:
        raise UserError(f"batch must be a multiple of the {devices} devices, got {settings['batch']}: edit params.yaml")
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
        trainer = trainer_with(Given(checkpoint, make_criterion, activation, weights))(overrides=overrides)
        trainer.on_epoch = on_epoch
        if isinstance(network, DetectionModel):
            trainer.model = network
        try:
            if not trainer.is_over():
                trainer.train()
        except subprocess.CalledProcessError as error:
            raise UserError(f"a process of the training on {device} failed; what it said is above") from error
        return trainer.trained()


class _WithLearned(nn.Module):
    """A network and what is learned along with it, as one module with the parameters of both.

    `student_model` is where ultralytics' optimizers look for the network of a module that wraps it.
    """

    def __init__(self, network: DetectionModel, learned: nn.Module) -> None:
        super().__init__()
        self.student_model = network
        self.learned = learned


class ResumableTrainer(DetectionTrainer):
    """ultralytics' detection trainer that keeps its whole state, unrounded, in one file.

    On the CPU a training that was killed ends with the same bits as one that was not: ultralytics loads data in the
    training process there, so all random generators are in reach. With loader processes (CUDA) or several devices it
    goes on from its last epoch with other augmentations than it would have drawn. ultralytics' own checkpoint rounds
    weights and optimizer to half precision and forgets the generators.
    """

    given: Given  # of the class, see `trainer_with`
    model: Any  # an architecture's YAML, then the network

    def __init__(self, cfg: Any = DEFAULT_CFG, overrides: Any = None, _callbacks: Any = None) -> None:
        super().__init__(cfg, overrides, _callbacks)
        self.on_epoch: OnEpoch = lambda epoch, metrics: None
        self.criterion: OwnCriterion | None = None
        self.best: dict[str, Any] = {}  # epoch and weights
        self.history: list[dict[str, float]] = []

    def setup_model(self) -> Any:
        """Build the network, and start it from the initial weights if there are any."""
        given = isinstance(self.model, nn.Module)
        checkpoint = super().setup_model()
        if given:
            for parameter in self.model.parameters():
                parameter.requires_grad = True  # saved checkpoints come frozen
        if self.given.weights is not None:
            _expect_same_architecture(self.given.weights, self.model)
            self.model.load(self.given.weights)
        return checkpoint

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Build the architecture for the classes of the dataset, with the activation that was asked for."""
        if self.given.activation is not None:
            cfg = {**yaml_model_load(cfg), "activation": ACTIVATIONS[self.given.activation]}
        return super().get_model(cfg, weights, verbose)

    def build_optimizer(self, model: nn.Module, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Build the criterion, and an optimizer for the network and all that the criterion learns."""
        if self.given.make_criterion is None:
            return super().build_optimizer(model, *args, **kwargs)
        with torch.random.fork_rng(devices=[]):  # what is learned along must not change which batches are seen
            torch.manual_seed(self.args.seed)
            training = InTraining(unwrap_model(model), self._batches_of, self.args.seed, self.args.epochs)
            self.criterion = self.given.make_criterion(training)
        return super().build_optimizer(_WithLearned(unwrap_model(model), self.criterion.learned), *args, **kwargs)

    def optimizer_step(self) -> None:
        """Clip the gradients of what the criterion learns, too, as ultralytics clips the network's.

        It is no part of the network, so among several processes they are averaged here.
        """
        if self.criterion is not None and (learned := list(self.criterion.learned.parameters())):
            if distributed.is_initialized():
                for parameter in learned:
                    if parameter.grad is not None:
                        distributed.all_reduce(parameter.grad)
                        parameter.grad /= self.world_size
            nn.utils.clip_grad_norm_(learned, max_norm=LARGEST_GRADIENT)
        super().optimizer_step()

    def _setup_train(self) -> None:
        super()._setup_train()
        if self.criterion is not None:
            # Only now: the moving average is a copy of the network and must not carry the criterion's teacher along.
            unwrap_model(self.model).criterion = self.criterion

    def _batches_of(self, folder: Path, epoch: int) -> Iterator[Tensor]:
        """Yield augmented batches of the images of a folder without end (`InTraining.batches_of`)."""
        arguments = copy(self.args)
        arguments.mosaic = 0.0  # its buffer of earlier images would be a state that a resumed training lacks
        dataset = build_yolo_dataset(
            arguments, str(folder), self.batch_size, self.data, mode="train", stride=self.stride
        )
        batch_size = self.batch_size // max(self.world_size, 1)
        generator = torch.Generator().manual_seed((max(RANK, 0) * 100 + self.args.seed) * 10_000 + epoch)
        while True:
            for chosen in torch.randperm(len(dataset), generator=generator).split(batch_size):
                if len(chosen) == batch_size or len(dataset) < batch_size:
                    batch = dataset.collate_fn([dataset[int(index)] for index in chosen])
                    yield self.preprocess_batch(batch)["img"]

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
        if self.ema is None:
            self._recall(self._state())  # other processes, or an earlier run, have trained
            if not isinstance(self.model, nn.Module):
                self.model = self.get_model(self.model, verbose=False)
            self.set_model_attributes()
        # Not the moving average that carries these weights: validation leaves traces on it.
        network = unwrap_model(self.model)
        vars(network).pop("criterion", None)
        network = deepcopy(network).to(self.device).eval().requires_grad_(False)
        network.load_state_dict(self.best["weights"])
        return Trained(network, self.best["epoch"] + 1, tuple(self.history))

    def is_over(self) -> bool:
        """Tell whether the checkpoint is that of the last epoch: what was interrupted then came after the training."""
        return self.given.checkpoint.is_file() and bool(self._state()["over"])

    def _recall(self, state: Mapping[str, Any]) -> None:
        """Take over the epochs that are behind."""
        self.best, self.history = state["best"], state["history"]
        for epoch, metrics in enumerate(self.history, start=1):
            self.on_epoch(epoch, metrics)

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
            "over": self.stop,
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
            "criterion_learned": self.criterion.learned.state_dict() if self.criterion else None,
        }
        with whole_file(self.given.checkpoint) as partial:
            torch.save(state, partial)
        self.on_epoch(self.epoch + 1, self.history[-1])
        return True

    def _state(self) -> dict[str, Any]:
        # Our own file, whose name carries the digest of parameters, inputs and code: it holds numpy and random states.
        state: dict[str, Any] = torch.load(self.given.checkpoint, map_location=self.device, weights_only=False)
        return state

    def resume_training(self, ckpt: Any) -> None:
        """Go on from the checkpoint file if there is one."""
        if not self.given.checkpoint.is_file():
            return
        state = self._state()
        unwrap_model(self.model).load_state_dict(state["network"])
        self.ema.ema.load_state_dict(state["moving_average"])
        self.ema.updates = state["moving_average_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.stopper.__dict__.update(state["stopper"])
        self.best_fitness = state["best_fitness"]
        self._recall(state)
        self.start_epoch = state["epoch"] + 1
        if state["criterion_updates"] is not None:  # the loss of end-to-end heads shifts its balance every epoch
            network = unwrap_model(self.model)
            criterion = self.criterion or network.init_criterion()
            criterion.updates = state["criterion_updates"] - 1
            criterion.update()
            network.criterion = criterion
        if self.criterion is not None:
            self.criterion.learned.load_state_dict(state["criterion_learned"])
        if self.world_size > 1:
            return  # a process of several has its own part of the data and its own random numbers
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


def trainer_with(given: Given) -> type[ResumableTrainer]:
    """Return the trainer's class with what is given as a part of it.

    For several devices ultralytics starts a process on each, and rebuilds the trainer there from its class, pickled by
    value, and ultralytics' arguments alone.
    """
    return type("Trainer", (ResumableTrainer,), {"given": given})


def _expect_same_architecture(weights: DetectionModel, network: DetectionModel) -> None:
    """Check that weights have all of a network's tensors, in the same shapes.

    ultralytics takes what happens to fit. What scores classes (the head's cv3) is as wide as there are classes, and may
    differ.

    Raises:
        UserError: they have not.
    """
    given, own = weights.state_dict(), network.state_dict()
    head = f"model.{len(network.model) - 1}."
    unlike = [
        name
        for name, tensor in own.items()
        if not (name.startswith(head) and "cv3." in name) and (name not in given or given[name].shape != tensor.shape)
    ]
    if unlike:
        raise UserError(
            f"the weights to start from are of another architecture: {len(unlike)} of {len(own)} tensors are not there "
            f"or have another shape, {unlike[0]} for one: choose weights of this architecture, or weights=null"
        )


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
