"""student: a student of a dataset, trained as its variant says.

    python -m benchmarks.evidence.student bccd teacher-heads 0

Reads made/<data>/{data,models}. Writes made/<data>/students/<variant>-<seed>.pt and
reports/evidence/student-<data>-<variant>-<seed>.json.
"""

from __future__ import annotations

import json
import os

from benchmarks.evidence import MADE
from benchmarks.evidence.measuring import measure
from benchmarks.evidence.predictions import FOLDER
from benchmarks.evidence.protocol import Variant
from benchmarks.evidence.running import begin, measured_facts, minutes_of, performed, write_result
from benchmarks.evidence.settings import STAGES, overrides_of
from benchmarks.evidence.teacher import EPOCHS
from benchmarks.evidence.tuned import computing, read_tuned
from src.config.architecture import FROM_TEACHER
from src.config.distill import Distill
from src.config.teaching import Assistants, BornAgain, Ensemble, Mutual, Teaching
from src.foundation.digests import digest
from src.foundation.pipeline import PREPARED, STUDENT, TEACHER
from src.workflow.command import guarded


def main() -> None:
    """Train the student that the command line names."""
    begun = begin("student")
    protocol, run = begun.protocol, begun.run
    variant = protocol.variants[str(run.variant)]
    project = MADE / run.data
    weights = project / f"students/{run.variant}-{run.seed}.pt"
    teachers_epochs = int(json.loads((project / EPOCHS).read_text(encoding="utf-8")))
    overrides = overrides_of(run, protocol)
    epochs = epochs_of(variant, protocol.datasets[run.data].epochs, teachers_epochs)
    overrides.append(f"epochs={epochs}")
    tuned = read_tuned(project, variant.tuned)
    overrides, compute = computing([*overrides, *tuned.settings], distills_model=variant.distill_model)
    with minutes_of(run) as minutes, performed(run, STAGES[run.kind], overrides, project, compute) as done:
        weights.parent.mkdir(exist_ok=True)
        os.replace(done.output / STUDENT, weights)
        metrics, params = done.metrics, done.params
        found = measure(weights, project / PREPARED, params.imgsz, params.device, params.cpu_threads)
    taught = has_teacher(params, distill_model=variant.distill_model)
    below = (teachers_epochs if taught else 0) + epochs * trained_besides(params.teaching) + tuned.epochs
    facts = {
        "epochs": {"own": metrics["epochs"], "best": metrics["best_epoch"], "below": below},
        "late_gain": metrics["late_gain"],
        "minutes": minutes[0],
        "val": metrics["val"],
        **measured_facts(found),
    }
    digests = {"teacher": digest(project / TEACHER) if taught else None, "weights": digest(weights)}
    if variant.tuned:
        digests["tuned"] = tuned.digest
    if variant.reads_predictions:
        digests["predictions"] = digest(project / FOLDER)
    write_result(begun, digests=digests, facts=facts, params=params)


def epochs_of(variant: Variant, dataset_epochs: int, teachers_epochs: int) -> int:
    """Return the number of epochs that a student is trained."""
    share = max(1, round(variant.share * dataset_epochs))
    return share + variant.more_epochs + (teachers_epochs if variant.teachers_epochs else 0)


def trained_besides(teaching: Teaching) -> int:
    """Return how many other networks a way of teaching trains, each for as many epochs as the student."""
    match teaching:
        case Assistants():
            return len(teaching.chain)
        case Ensemble():
            return len(teaching.others)
        case BornAgain():
            return teaching.generations
        case Mutual():
            return 1
        case _:
            return 0


def has_teacher(params: Distill, *, distill_model: bool) -> bool:
    """Return whether a student starts from its teacher's weights, or learns from it."""
    learns = params.teaching.starts_from_teacher and params.alpha > 0
    return distill_model or learns or params.student.weights == FROM_TEACHER


if __name__ == "__main__":
    raise SystemExit(guarded(main))
