"""ultralytics' detection trainer, resumable to the bit, without the files that ultralytics would write on its own."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from ultralytics.data.build import build_yolo_dataset
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.utils import DEFAULT_CFG, RANK
from ultralytics.utils.torch_utils import unwrap_model

from src.detector.added_boxes import AddedBoxes, add_boxes, parted
from src.detector.criterion import Batch, LearningCriterion, MakeCriterion, TrainingContext
from src.detector.fitted_dataset import FittedDataset, fit
from src.detector.initial_weights import expect_same_architecture, take_weights
from src.detector.precision import compute_in_float32, train_in_bfloat16
from src.detector.strides import expect_multiple_of_stride
from src.foundation.atomic import whole_file
from src.foundation.errors import UserError
from src.foundation.image_size import ImageSize, height_width

_logger = logging.getLogger(__name__)

OnEpoch = Callable[[int, Mapping[str, float]], None]

ACTIVATIONS = {"silu": "torch.nn.SiLU()", "relu": "torch.nn.ReLU()", "hardswish": "torch.nn.Hardswish()"}
"""The names of activations in an architecture's YAML."""

LARGEST_GRADIENT = 10.0
"""The norm to which ultralytics clips gradients (`BaseTrainer.optimizer_step`)."""


@dataclass(frozen=True)
class TrainerExtras:
    """The trainer's settings that ultralytics' arguments do not cover.

    Attributes:
        checkpoint: file for the state of the last epoch.
        make_criterion: makes the training loss; None: ultralytics' own.
        activation: one of `ACTIVATIONS` instead of the architecture's own; None: its own.
        weights: initial weights; None: random, or the weights that the network has.
        dtype: float32, or bfloat16 for the forward pass and its gradients.
        size_hw: px, height and width of the images; None: the square of ultralytics' `imgsz`.
    """

    checkpoint: Path
    make_criterion: MakeCriterion | None = None
    activation: str | None = None
    weights: DetectionModel | None = None
    dtype: torch.dtype = torch.float32
    size_hw: tuple[int, int] | None = None


@dataclass(frozen=True)
class Trained:
    """The outcome of a training.

    Attributes:
        network: the weights of the best epoch by val mAP50-95 (the moving average that ultralytics keeps), float32.
        best_epoch: its number, from 1.
        history: the metrics of every epoch; fewer than the requested epochs if the training stopped early.
    """

    network: DetectionModel
    best_epoch: int
    history: tuple[dict[str, float], ...]

    @property
    def late_gain(self) -> float:
        """What the last quarter of the epochs added to the best val mAP50-95; 0 for a single epoch.

        >>> Trained(DetectionModel, 4, tuple({"map50_95": value} for value in (0.1, 0.4, 0.5, 0.625))).late_gain
        0.125
        """
        scores = [epoch["map50_95"] for epoch in self.history]
        before = len(scores) - max(len(scores) // 4, 1)
        return round(max(scores) - max(scores[:before], default=max(scores)), 6)


class _WithLearned(nn.Module):
    """A network and the modules that are trained along with it, as one module with the parameters of both.

    ultralytics' optimizers look for a wrapped network under the name `student_model`.
    """

    def __init__(self, network: DetectionModel, learned: nn.Module) -> None:
        super().__init__()
        self.student_model = network
        self.learned = learned


class ResumableTrainer(DetectionTrainer):
    """ultralytics' detection trainer that saves its whole state, unrounded, in one file.

    On the CPU a training that was killed and resumed ends with the same bits as an uninterrupted one: there ultralytics
    loads data in the training process, so the state of all random generators can be saved. With loader processes (CUDA)
    or several devices, a resumed training continues after its last epoch, but with other augmentations than without the
    interruption. ultralytics' own checkpoint rounds weights and optimizer to half precision and does not contain the
    generators.

    The file holds tensors and plain values, so reading it runs no code. One that cannot be read is removed, and the
    training starts anew.
    """

    extras: TrainerExtras  # a class attribute, see `trainer_with`
    model: Any  # an architecture's YAML, then the network

    def __init__(self, cfg: Any = DEFAULT_CFG, overrides: Any = None, _callbacks: Any = None) -> None:
        super().__init__(cfg, overrides, _callbacks)
        self.on_epoch: OnEpoch = lambda epoch, metrics: None
        self.criterion: LearningCriterion | None = None
        self.best: dict[str, Any] = {}  # epoch and weights
        self.history: list[dict[str, float]] = []
        self._has_added_boxes = False

    def setup_model(self) -> Any:
        """Build the network, and give it the initial weights if there are any."""
        given = isinstance(self.model, nn.Module)
        checkpoint = super().setup_model()
        expect_multiple_of_stride(self._size, self.model)  # ultralytics rounds it up later
        if given:
            for parameter in self.model.parameters():
                parameter.requires_grad = True  # the parameters of saved checkpoints are frozen
        if self.extras.weights is not None:
            expect_same_architecture(self.extras.weights, self.model)
            take_weights(self.extras.weights, self.model)
        if self.extras.dtype == torch.bfloat16:
            train_in_bfloat16(self.model)
        return checkpoint

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Return the images of a folder, for training or validation."""
        height, width = height_width(self._size)
        if mode == "val" and height == width:
            return super().build_dataset(img_path, mode, batch)  # in rectangles, which are smaller than the square
        return self._fitted(self.args, img_path, batch, mode)

    def _fitted(self, arguments: Any, img_path: str, batch: int | None, mode: str = "train") -> FittedDataset:
        dataset = build_yolo_dataset(arguments, img_path, batch, self.data, mode=mode, rect=False, stride=self.stride)
        return fit(dataset, self._size)

    @property
    def _size(self) -> ImageSize:
        size: ImageSize = self.extras.size_hw or self.args.imgsz
        return size

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Scale the images to [0, 1], in the network's memory format; part added boxes from the labels."""
        batch = super().preprocess_batch(batch)
        if self._has_added_boxes:
            batch = parted(batch, self.data["nc"])
        if self.extras.dtype == torch.bfloat16:
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Build the architecture for the classes of the dataset, with the chosen activation."""
        if self.extras.activation is not None:
            cfg = {**yaml_model_load(cfg), "activation": ACTIVATIONS[self.extras.activation]}
        return super().get_model(cfg, weights, verbose)

    def build_optimizer(self, model: nn.Module, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Build the criterion, and an optimizer of the network and of the modules that the criterion trains."""
        if self.extras.make_criterion is None:
            return super().build_optimizer(model, *args, **kwargs)
        with torch.random.fork_rng(devices=[]):  # initializing these modules must not change which batches are drawn
            torch.manual_seed(self.args.seed)
            training = TrainingContext(
                unwrap_model(model), self._batches_of, self._add_boxes, self.args.seed, self.args.epochs
            )
            self.criterion = self.extras.make_criterion(training)
        return super().build_optimizer(_WithLearned(unwrap_model(model), self.criterion.learned), *args, **kwargs)

    def optimizer_step(self) -> None:
        """Clip the gradients of the criterion's modules as well, as ultralytics clips the network's.

        These modules are not part of the network, so several processes average their gradients here.
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
            # Not earlier: the moving average is a copy of the network, which must not include the criterion's teacher.
            unwrap_model(self.model).criterion = self.criterion

    def _add_boxes(self, boxes: AddedBoxes) -> None:
        """Add boxes to the training images (`TrainingContext.add_boxes`), before the loader's first batch."""
        add_boxes(self.train_loader.dataset, boxes, self.data["nc"])
        self._has_added_boxes = True

    def _batches_of(self, folder: Path, epoch: int, boxes: AddedBoxes | None) -> Iterator[Batch]:
        """Yield augmented batches of a folder's images without end (`TrainingContext.batches_of`)."""
        arguments = copy(self.args)
        arguments.mosaic = 0.0  # a resumed training does not have the mosaic's buffer of earlier images
        dataset = self._fitted(arguments, str(folder), self.batch_size)
        if boxes is not None:
            add_boxes(dataset, boxes, self.data["nc"])
        batch_size = self.batch_size // max(self.world_size, 1)
        generator = torch.Generator().manual_seed((max(RANK, 0) * 100 + self.args.seed) * 10_000 + epoch)
        while True:
            for chosen in torch.randperm(len(dataset), generator=generator).split(batch_size):
                if len(chosen) == batch_size or len(dataset) < batch_size:
                    batch = dataset.collate_fn([dataset[int(index)] for index in chosen])
                    yield self.preprocess_batch(batch)

    def _epoch_metrics(self) -> dict[str, float]:
        """Return the metrics of the epoch that has just ended, under the names of this project."""
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
        """Return the outcome, after the training."""
        if self.ema is None:
            state = self._state()  # other processes, or an earlier run, did the training
            assert state is not None, f"{self.extras.checkpoint} is gone"
            self._recall(state)
            if not isinstance(self.model, nn.Module):
                self.model = self.get_model(self.model, verbose=False)
                if self.extras.weights is not None:
                    take_weights(self.extras.weights, self.model)  # they can widen it
            self.set_model_attributes()
        # A copy of the trained network, not of the moving average, because validation leaves traces on that.
        network = unwrap_model(self.model)
        vars(network).pop("criterion", None)
        network = deepcopy(network).to(self.device).eval().requires_grad_(False)
        if self.extras.dtype == torch.bfloat16:
            compute_in_float32(network)
        network.load_state_dict(self.best["weights"])
        return Trained(network, self.best["epoch"] + 1, tuple(self.history))

    def is_over(self) -> bool:
        """Return whether the checkpoint is from the last epoch: the interruption came after the training."""
        state = self._state()
        return state is not None and bool(state["over"])

    def _recall(self, state: Mapping[str, Any]) -> None:
        """Restore the results of the epochs before the interruption, and report them to `on_epoch`."""
        self.best, self.history = state["best"], state["history"]
        for epoch, metrics in enumerate(self.history, start=1):
            self.on_epoch(epoch, metrics)

    def final_eval(self) -> None:
        """Leave the final evaluation to the caller."""

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write no CSV: `on_epoch` gets the metrics."""

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
        # Into a file of Python's: torch's own raises a RuntimeError without a reason if the disk is full.
        with whole_file(self.extras.checkpoint) as partial, partial.open("wb") as file:
            torch.save(_plain(state), file)
        self.on_epoch(self.epoch + 1, self.history[-1])
        return True

    def _state(self) -> dict[str, Any] | None:
        """Return the state in the checkpoint file; None without one. A file that cannot be read is removed."""
        path = self.extras.checkpoint
        if not path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            if not isinstance(state, dict):
                raise TypeError(f"expected a dictionary, found {type(state).__name__}")
        except Exception as error:  # torch raises many types for a damaged file
            reason = str(error).partition("\n")[0]
            _logger.warning("%s: cannot be read (%s): the training starts anew", path, reason)
            path.unlink()
            return None
        return state

    def resume_training(self, ckpt: Any) -> None:
        """Resume from the checkpoint file if there is one."""
        state = self._state()
        if state is None:
            return
        unwrap_model(self.model).load_state_dict(state["network"])
        self.ema.ema.load_state_dict(state["moving_average"])
        self.ema.updates = state["moving_average_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.stopper.__dict__.update(state["stopper"])
        self.best_fitness = state["best_fitness"]
        self._recall(state)
        self.start_epoch = state["epoch"] + 1
        if state["criterion_updates"] is not None:  # the loss of end-to-end heads changes its balance every epoch
            network = unwrap_model(self.model)
            criterion = self.criterion or network.init_criterion()
            criterion.updates = state["criterion_updates"] - 1
            criterion.update()
            network.criterion = criterion
        if self.criterion is not None:
            self.criterion.learned.load_state_dict(state["criterion_learned"])
        if self.world_size > 1:
            return  # each of several processes has its own part of the data and its own random numbers
        if self.train_loader.num_workers == 0:
            self._resume_data(state)
        _restore_generators(state["random"])

    def _resume_data(self, state: Mapping[str, Any]) -> None:
        """Put the loader into the state that it had at the end of the epoch of `state`."""
        loader, dataset = self.train_loader, self.train_loader.dataset
        dataset.buffer.clear()
        for index in state["mosaic_buffer"]:
            dataset.load_image(index)  # appends to the buffer
        mosaic_closes = self.epochs - self.args.close_mosaic
        if not self.args.close_mosaic or self.start_epoch != mosaic_closes:
            # The loader was not restarted after that epoch. Starting it here draws a number, so the state is set later.
            loader.iterator = loader._get_iterator()
            loader.generator.set_state(state["order"].cpu())
            if len(dataset) % loader.batch_size == 0:
                # RandomSampler draws one more permutation, which it does not use, when it is exhausted. After a full
                # last batch that happens at the start of the next epoch.
                torch.randperm(len(dataset), generator=loader.generator)
            if self.args.close_mosaic and self.start_epoch > mosaic_closes:
                loader.reset = lambda: None  # the trainer closes the mosaic again; it must not restart the loader
        else:
            loader.generator.set_state(state["order"].cpu())


def trainer_with(extras: TrainerExtras) -> type[ResumableTrainer]:
    """Return a trainer class with the extras as a class attribute.

    For several devices ultralytics starts a process on each. The process rebuilds the trainer from its class, pickled
    by value, and from ultralytics' arguments.
    """
    return type("Trainer", (ResumableTrainer,), {"extras": extras})


def _plain(value: Any) -> Any:
    """Return a state with Python's numbers and lists for NumPy's: reading it needs no pickled code."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if type(value) is dict:
        return {key: _plain(one) for key, one in value.items()}
    return type(value)(_plain(one) for one in value) if type(value) in (list, tuple) else value


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
