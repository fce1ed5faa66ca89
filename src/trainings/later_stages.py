"""Requirements of later stages, checked on untrained networks before the teacher is trained.

It only refuses: no result depends on it, so it is no part of the code that made the teacher (src/workflow/code.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose

from src.config.architecture import FROM_TEACHER
from src.config.composition import register, typed
from src.config.distill import Distill
from src.config.prune import Prune
from src.config.teaching import Assistants, Ensemble
from src.detector.strides import expect_multiple_of_stride
from src.distillation.objective import Objective
from src.foundation.errors import UserError
from src.pruning.pruner import Pruner
from src.teaching.suitability import expect_average, expect_suitable, untrained
from src.teaching.weight_selection import select_weights
from src.trainings.networks import own_weights
from src.trainings.teachers import objective_of
from src.trainings.withholding import withheld_indices
from src.workflow.advice import with_advice


def expect_later_stages(teacher: str, class_names: Sequence[str], project: Path) -> None:
    """Check that the pipeline can distil its student from a teacher, and prune the student.

    Args:
        teacher: its architecture.
        class_names: of the dataset.
        project: the root of the pipeline's files.

    Raises:
        UserError: an architecture or a class is unknown, or an architecture does not suit the settings of distill or
            prune in params.yaml; the student's initial weights cannot be read, or are of another architecture.
    """
    distill: Distill = _settings("distill")
    prune: Prune = _settings("prune")
    student = distill.student.architecture
    with _named("distill"):
        withheld_indices(distill, class_names)
        network = untrained(student)
        expect_multiple_of_stride(distill.imgsz, network)
        if objective := objective_of(distill):
            _expect_teaching(distill, teacher, objective)
        if distill.student.weights == FROM_TEACHER:
            select_weights(untrained(teacher), student)
        elif distill.student.weights is not None:
            own_weights(distill.student, project / distill.student.weights, network)
    with _named("prune"):
        if objective := objective_of(prune):
            expect_suitable([(teacher, student)], objective)
        # By magnitude, whatever the settings are: it needs no data.
        pruner = Pruner(prune.method, "magnitude", prune.round_to, prune.imgsz, lambda network: None)
        pruner.pruned(network, network, prune.ratio)


@contextmanager
def _named(stage: str) -> Iterator[None]:
    """Word an error of the block as one of another stage."""
    try:
        yield
    except UserError as error:
        raise UserError(with_advice(error, stage)) from error


def _expect_teaching(distill: Distill, teacher: str, objective: Objective) -> None:
    teaching, student = distill.teaching, distill.student.architecture
    pairs = teaching.pairs(student)
    match teaching:
        case Ensemble():
            expect_average(untrained(teacher), teaching.others, objective)
            pairs.append((teacher, student))
        case Assistants():
            pairs.append((teacher, teaching.chain[0]))
        case _ if teaching.starts_from_teacher:
            pairs.append((teacher, student))
    expect_suitable(pairs, objective)


def _settings(stage: str) -> Any:
    """Return the settings of another stage. Hydra, which runs this stage, is initialized."""
    register([stage])
    return typed(stage, compose(stage))
