"""predictions: what the teacher of a dataset finds in its training images, as the files that a student reads.

    python -m benchmarks.evidence.predictions bccd

Reads made/<data>/{data,models}. Writes made/<data>/predictions and reports/evidence/predictions-<data>.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.evidence import EVIDENCE, MADE
from benchmarks.evidence.running import begin, write_result
from benchmarks.evidence.settings import STAGES, overrides_of, typed_params
from src import write_predictions
from src.foundation.atomic import whole_folder, write_json
from src.foundation.digests import digest
from src.foundation.pipeline import TEACHER
from src.workflow.command import guarded
from src.workflow.one_writer import only_writer
from src.workflow.stage_files import StageFiles

FOLDER = "predictions"
"""In the folder of a dataset; `teaching.files` of the variants that read it."""


def main() -> None:
    """Write the predictions of the teacher of the dataset that the command line names."""
    begun = begin("predictions")
    project, stage = MADE / begun.run.data, STAGES[begun.run.kind]
    params = typed_params(stage, overrides_of(begun.run, begun.protocol))
    with only_writer(EVIDENCE, begun.run.name), TemporaryDirectory(prefix=".made-", dir=project) as made:
        write_predictions.run(params, StageFiles(stage, project, Path(made)))
        found = json.loads((Path(made) / "predictions.json").read_text(encoding="utf-8"))
    with whole_folder(project / FOLDER) as folder:
        write_json(folder / "predictions.json", found)
    digests = {"teacher": digest(project / TEACHER), "predictions": digest(project / FOLDER)}
    write_result(begun, digests=digests, facts={"boxes": len(found)})


if __name__ == "__main__":
    raise SystemExit(guarded(main))
