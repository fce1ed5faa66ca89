"""train-teacher: trains the large detector that the student will learn from.

Reads data/prepared. Writes models/teacher.pt, reports/train_teacher.json and reports/train_teacher/.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from src.config import TrainTeacher
from src.detector import runtime
from src.detector.checkpoint import find_architecture
from src.trainings import job
from src.workflow import stage
from src.workflow.stage import Metrics, Place
from src.workflow.tracking import Run


def run(params: TrainTeacher, place: Place, log: Run) -> Metrics:
    """Train the teacher and return its accuracy on val, its size and its arithmetic."""
    device = runtime.settle(params.device, params.threads)
    architecture = find_architecture(params.teacher.architecture)
    weights = job.own_weights(params.teacher, place)
    prepared = place.read("data/prepared")
    with place.checkpoint() as kept:
        return job.train_and_keep(
            architecture,
            "models/teacher.pt",
            params,
            place,
            log,
            prepared=prepared,
            device=device,
            kept=kept,
            activation=params.teacher.activation,
            weights=weights,
        )


@hydra.main(version_base="1.3", config_path="../conf", config_name="train_teacher")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("train_teacher", run, config)


if __name__ == "__main__":
    stage.guard(main)
