"""teacher: the teacher of a dataset, trained until its val mAP50-95 has not risen for some epochs.

    python -m benchmarks.evidence.teacher bccd

Reads made/<data>/data. Writes made/<data>/models/{teacher.pt,epochs.json} and reports/evidence/teacher-<data>.json.
"""

from __future__ import annotations

import os

from benchmarks.evidence import MADE
from benchmarks.evidence.measuring import measure
from benchmarks.evidence.running import begin, measured_facts, minutes_of, performed, write_result
from benchmarks.evidence.settings import STAGES, overrides_of
from src.foundation.atomic import write_json
from src.foundation.digests import digest
from src.foundation.pipeline import PREPARED, TEACHER
from src.workflow.command import guarded

EPOCHS = "models/epochs.json"
"""The number of epochs that the teacher was trained, for the controls that get as many."""


def main() -> None:
    """Train the teacher of the dataset that the command line names."""
    begun = begin("teacher")
    run = begun.run
    project = MADE / run.data
    weights = project / TEACHER
    with (
        minutes_of(run) as minutes,
        performed(run, STAGES[run.kind], overrides_of(run, begun.protocol), project) as done,
    ):
        weights.parent.mkdir(exist_ok=True)
        os.replace(done.output / TEACHER, weights)
        metrics, params = done.metrics, done.params
        write_json(project / EPOCHS, metrics["epochs"])
        found = measure(weights, project / PREPARED, params.imgsz, params.device, params.cpu_threads)
    facts = {
        "epochs": {"own": metrics["epochs"], "best": metrics["best_epoch"], "below": 0},
        "converged": metrics["epochs"] < params.epochs,
        "minutes": minutes[0],
        "val": metrics["val"],
        **measured_facts(found),
    }
    write_result(begun, digests={"teacher": digest(weights)}, facts=facts, params=params)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
