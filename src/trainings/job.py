"""The job of a training stage: the settings that all its trainings share, and their outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import ultralytics
from ultralytics.nn.tasks import DetectionModel

from src.config.training import Training
from src.detector.accuracy import validate
from src.detector.checkpoint import architecture_digest, save_detector
from src.detector.complexity import complexity
from src.detector.criterion import MakeCriterion
from src.detector.dataset import view_of
from src.detector.precision import dtype_for
from src.detector.runtime import settle
from src.detector.trainer import Trained
from src.detector.training import NewNetwork, train
from src.foundation.atomic import write_json
from src.foundation.digests import digest
from src.foundation.image_size import ImageSize
from src.foundation.pipeline import PREPARED
from src.foundation.prepared import SPLITS, class_names, images_of
from src.reporting.training_curves import draw_curves, save_curves
from src.workflow.checkpoints import checkpoints
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

MIB = 2**20


@dataclass(frozen=True)
class TrainingJob:
    """The settings that all trainings of a stage share.

    Attributes:
        arguments: of ultralytics' trainer.
        files: of the stage.
        log: the stage's MLflow run.
        prepared: the folder that prepare-labels wrote.
        inputs: all other files and folders that the trainings depend on, by name.
        device: "cpu" or CUDA indices.
        dtype: in which the forward pass of a training computes.
        checkpoints: the folder where trainings keep their state until the stage ends.
    """

    arguments: Mapping[str, Any]
    files: StageFiles
    log: Run
    prepared: Path
    inputs: Mapping[str, Path]
    device: str
    dtype: torch.dtype
    checkpoints: Path

    @property
    def imgsz(self) -> ImageSize:
        """Size of the images, px."""
        found: ImageSize = self.arguments["imgsz"]
        return found

    def for_epochs(self, epochs: int) -> TrainingJob:
        """Return the same job with another number of epochs."""
        return replace(self, arguments={**self.arguments, "epochs": epochs})

    def in_float32(self) -> TrainingJob:
        """Return the same job with trainings in float32."""
        return replace(self, dtype=torch.float32)

    def train_output(
        self, name: str, network: NewNetwork | DetectionModel, make_criterion: MakeCriterion | None = None
    ) -> dict[str, Any]:
        """Train a network, keep the detector as an output of the stage, and return its metrics.

        The metrics of each epoch, the detector and its curves are recorded in the stage's run.

        Args:
            name: of the output, such as models/student.pt.
            network: see `train`.
            make_criterion: makes the training loss; None: ultralytics' own.
        """
        self._record_dataset()
        with view_of(self.prepared) as data:
            trained = train(
                network,
                data,
                self.arguments,
                device=self.device,
                dtype=self.dtype,
                checkpoint=self.checkpoints / "state.pt",
                make_criterion=make_criterion,
                on_epoch=self._record_epoch,
            )
            return self._keep(trained, name, data)

    def train_helper(
        self,
        name: str,
        network: NewNetwork | DetectionModel,
        make_criterion: MakeCriterion | None = None,
        *,
        finish: Callable[[DetectionModel], DetectionModel] = lambda trained: trained,
    ) -> Path:
        """Train a network on the way to the stage's output, and return its .pt file.

        A run below the stage's records it; its weights and curves are artifacts of the stage's run. A network that an
        interrupted run of the stage finished is not trained again.

        Args:
            name: of the network.
            network: see `train`.
            make_criterion: makes the training loss; None: ultralytics' own.
            finish: turns the trained network into the one that is kept.
        """
        path, table, picture = (self.checkpoints / f"{name}.{suffix}" for suffix in ("pt", "csv", "png"))
        if not self._report_of(name).exists():
            with view_of(self.prepared) as data:
                trained = train(
                    network,
                    data,
                    self.arguments,
                    device=self.device,
                    dtype=self.dtype,
                    checkpoint=self.checkpoints / f"{name}.state.pt",
                    make_criterion=make_criterion,
                )
                save_curves(trained.history, table)
                draw_curves(trained.history, trained.best_epoch, picture)
                kept = finish(trained.network)
                save_detector(kept, path, self.imgsz)
                val = validate(path, data, split="val", imgsz=self.imgsz, device=self.device)
            size = asdict(complexity(kept, self.imgsz))
            self.log.child(name, {"epochs": self.arguments["epochs"], **size}, {"val": asdict(val)})
            metrics = {"val": asdict(val), "best_epoch": trained.best_epoch, "epochs": len(trained.history)}
            write_json(self._report_of(name), metrics)  # last: the network is finished
        for file in (path, table, picture):
            self.log.artifact(file, folder="on_the_way")
        return path

    def helper_metrics(self, name: str) -> dict[str, Any]:
        """Return the accuracy on val of a network that `train_helper` trained, its best epoch, and its epochs."""
        metrics: dict[str, Any] = json.loads(self._report_of(name).read_text(encoding="utf-8"))
        return metrics

    def _report_of(self, name: str) -> Path:
        return self.checkpoints / f"{name}.json"

    def _keep(self, trained: Trained, name: str, data: Path) -> dict[str, Any]:
        """Write the detector and its curves, record both, and return the detector's metrics.

        The file is validated, not the network: it is in half precision, and later stages read it.
        """
        path = self.files.write(name)
        table, picture = (self.files.write(f"reports/{self.files.stage}/epochs.{suffix}") for suffix in ("csv", "png"))
        save_detector(trained.network, path, self.imgsz)
        save_curves(trained.history, table)
        draw_curves(trained.history, trained.best_epoch, picture)
        val = validate(path, data, split="val", imgsz=self.imgsz, device=self.device)
        self.log.artifact(path, folder="models")
        self.log.artifact(table, folder="plots")
        self.log.artifact(picture, folder="plots")
        return {
            "val": asdict(val),
            "best_epoch": trained.best_epoch,
            "epochs": len(trained.history),
            "late_gain": trained.late_gain,
            **asdict(complexity(trained.network, self.imgsz)),
            "size_mib": round(path.stat().st_size / MIB, 4),
        }

    def _record_dataset(self) -> None:
        images = {split: len(images_of(self.prepared, split)) for split in SPLITS}
        profile = {"classes": len(class_names(self.prepared)), "images": images}
        self.log.dataset("prepared", digest(self.prepared), PREPARED, profile)

    def _record_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of an epoch, apart from the final ones: `epoch/map50_95`, `epoch/train/box_loss` etc."""
        losses = {name.removeprefix("train/"): value for name, value in metrics.items() if name.startswith("train/")}
        others = {name: value for name, value in metrics.items() if not name.startswith("train/")}
        self.log.metrics({"epoch": {"train": losses, **others}}, step=epoch)


@contextmanager
def training_job(
    params: Training, files: StageFiles, log: Run, inputs: Mapping[str, Path], architectures: Iterable[str] = ()
) -> Iterator[TrainingJob]:
    """Yield the job of a stage that trains.

    Args:
        params: the stage's settings.
        files: of the stage.
        log: its MLflow run.
        inputs: all files and folders that its trainings depend on, besides the prepared data, by name.
        architectures: of the networks that start from a YAML file.
    """
    device, dtype = settle(params.device, params.cpu_threads), dtype_for(params.precision, params.device)
    prepared = files.read(PREPARED)
    made_with = {
        "torch": torch.__version__,
        "ultralytics": ultralytics.__version__,
        "device": device,
        **{f"the content of {name}": architecture_digest(name) for name in architectures},
    }
    settings = f"{params!r} {params.cpu_threads} {dtype}"
    with checkpoints(files, settings, [prepared, *inputs.values()], made_with) as folder:
        job = TrainingJob(params.trainer_arguments(), files, log, prepared, inputs, device, dtype, folder)
        log.tags({"threads": str(torch.get_num_threads()), "precision": str(job.dtype).removeprefix("torch.")})
        yield job
