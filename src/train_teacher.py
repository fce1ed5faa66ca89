"""train-teacher: trains the large detector that the student will learn from.

Reads data/prepared. Writes models/teacher.pt, reports/train_teacher.json and reports/train_teacher/.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from src import stage, training
from src.config import TrainTeacher
from src.detector import runtime
from src.detector.checkpoint import find_architecture, load_weights
from src.detector.dataset import view_of
from src.detector.training import train
from src.stage import Metrics, Place
from src.tracking import Run


def run(params: TrainTeacher, place: Place, log: Run) -> Metrics:
    """Train the teacher and return its accuracy on val, its size and its arithmetic."""
    device = runtime.settle(params.device, params.threads)
    architecture = find_architecture(params.teacher.architecture)
    weights = load_weights(params.teacher.weights, trust=params.teacher.trust_weights)
    prepared = place.read("data/prepared")
    training.record_dataset(prepared, log)
    with view_of(prepared) as data, place.checkpoint() as checkpoint:
        trained = train(
            architecture,
            data,
            params.settings(),
            device=device,
            checkpoint=checkpoint,
            weights=weights,
            on_epoch=training.epoch_recorder(log),
        )
        return training.keep(trained, "models/teacher.pt", place, log, params=params, data=data, device=device)


@hydra.main(version_base="1.3", config_path="../conf", config_name="train_teacher")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("train_teacher", run, config)


if __name__ == "__main__":
    stage.guard(main)
