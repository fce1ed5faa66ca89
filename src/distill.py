"""distill-student: a small detector learns from the labels and from what the teacher says about the same images.

Reads data/prepared and, as `teaching` says, models/teacher.pt and data/unlabelled. Writes models/student.pt,
reports/distill.json and reports/distill/.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from src.config import Distill
from src.detector import runtime
from src.detector.checkpoint import find_architecture
from src.trainings import job, teaching
from src.workflow import stage
from src.workflow.stage import Metrics, Place
from src.workflow.tracking import Run


def run(params: Distill, place: Place, log: Run) -> Metrics:
    """Train the student and return its accuracy on val, its size and its arithmetic."""
    device = runtime.settle(params.device, params.threads)
    architecture = find_architecture(params.student.architecture)
    prepared = place.read("data/prepared")
    teaching.read_inputs(params, place)
    weights = teaching.first_weights(params, place, prepared)
    with (
        place.checkpoint() as kept,
        teaching.criterion(
            params, place, log, prepared=prepared, device=device, kept=kept, weights=weights
        ) as make_criterion,
    ):
        return job.train_and_keep(
            architecture,
            "models/student.pt",
            params,
            place,
            log,
            prepared=prepared,
            device=device,
            kept=kept,
            activation=params.student.activation,
            weights=weights,
            make_criterion=make_criterion,
        )


@hydra.main(version_base="1.3", config_path="../conf", config_name="distill")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("distill", run, config)


if __name__ == "__main__":
    stage.guard(main)
