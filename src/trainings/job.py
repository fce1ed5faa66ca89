"""What the three training stages share: training on the prepared data, and keeping what came out with its curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import DetectionModel

from src.config import Architecture, Training
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector, save_detector
from src.detector.complexity import complexity
from src.detector.dataset import class_names, view_of
from src.detector.training import OnEpoch, Trained, train
from src.foundation.digests import digest
from src.labels.dataset import SPLITS
from src.reporting.training_curves import draw_curves, save_curves
from src.workflow.stage import Place
from src.workflow.tracking import Run


def own_weights(architecture: Architecture, place: Place) -> DetectionModel | None:
    """Return the user's weights to start from; None where there are none.

    Raises:
        UserError: nothing is there, it is no detector, or it needs trust.
    """
    if architecture.weights is None:
        return None
    return load_detector(place.read_own(architecture.weights), trust=architecture.trust_weights)


def train_and_keep(
    network: str | DetectionModel,
    name: str,
    params: Training,
    place: Place,
    log: Run,
    *,
    prepared: Path,
    device: str,
    kept: Path,
    **options: Any,
) -> dict[str, Any]:
    """Train on the prepared data, keep the detector as `name`, and return its metrics.

    Args:
        network: an architecture's YAML or a network, as `train` takes it.
        name: of the output, such as models/student.pt.
        params: the stage's; its settings are the trainer's.
        place: where the outputs go.
        log: gets the dataset, the metrics of every epoch and the outputs.
        prepared: the folder that prepare-labels wrote.
        device: "cpu" or a CUDA index.
        kept: the folder in which the training keeps its state (`Place.checkpoint`).
        options: what else `train` takes: initial weights, a criterion of one's own.
    """
    _record_dataset(prepared, log)
    with view_of(prepared) as data:
        trained = train(
            network,
            data,
            params.settings(),
            device=device,
            checkpoint=kept / "state.pt",
            on_epoch=_epoch_recorder(log),
            **options,
        )
        return _keep(trained, name, params, place, log, data=data, device=device)


def train_on_the_way(
    network: str | DetectionModel,
    name: str,
    params: Training,
    log: Run,
    *,
    prepared: Path,
    device: str,
    kept: Path,
    finished: Callable[[DetectionModel], DetectionModel] = lambda trained: trained,
    **options: Any,
) -> Path:
    """Train a network that only leads to the stage's own, unless an interrupted run did; return where it is kept.

    It is a run below the stage's, with its weights and curves among the stage's artifacts. `finished` makes of the
    trained network what is kept. For the other arguments see `train_and_keep`.
    """
    path, table, picture = (kept / f"{name}.{suffix}" for suffix in ("pt", "csv", "png"))
    if not path.exists():
        with view_of(prepared) as data:
            checkpoint = kept / f"{name}.state.pt"
            trained = train(network, data, params.settings(), device=device, checkpoint=checkpoint, **options)
            save_curves(trained.history, table)
            draw_curves(trained.history, trained.best_epoch, picture)
            network = finished(trained.network)
            save_detector(network, path, params.imgsz)
            val = validate(path, data, split="val", imgsz=params.imgsz, device=device)
        size = asdict(complexity(network, params.imgsz))
        log.child(name, {"epochs": params.epochs, **size}, {"val": asdict(val)})
    for file in (path, table, picture):
        log.artifact(file, folder="on_the_way")
    return path


def _keep(
    trained: Trained, name: str, params: Training, place: Place, log: Run, *, data: Path, device: str
) -> dict[str, Any]:
    """Write the detector to `name` and its curves to the reports, record both, and return its metrics.

    What is validated is the file: half precision, as everything downstream reads it.
    """
    path = place.write(name)
    table, picture = (place.write(f"reports/{place.stage}/epochs.{suffix}") for suffix in ("csv", "png"))
    save_detector(trained.network, path, params.imgsz)
    save_curves(trained.history, table)
    draw_curves(trained.history, trained.best_epoch, picture)
    val = validate(path, data, split="val", imgsz=params.imgsz, device=device)
    log.artifact(path, folder="models")
    log.artifact(table, folder="plots")
    log.artifact(picture, folder="plots")
    return {
        "val": asdict(val),
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
        **asdict(complexity(trained.network, params.imgsz)),
        "size_mib": round(path.stat().st_size / 2**20, 4),
    }


def _record_dataset(prepared: Path, log: Run) -> None:
    """Record the dataset that a training reads."""
    images = {split: sum(1 for _ in (prepared / "images" / split).iterdir()) for split in SPLITS}
    profile = {"classes": len(class_names(prepared)), "images": images}
    log.dataset("prepared", digest(prepared), "data/prepared", profile)


def _epoch_recorder(log: Run) -> OnEpoch:
    """Return a callback that records the metrics of an epoch, apart from the final ones: `epoch/map50_95` and so on."""
    return lambda epoch, metrics: log.metrics({"epoch": metrics}, step=epoch)
