"""Stages of the pipeline, run for the candidates of a search. Each result is kept and never made twice.

A result lies in .cache/search, in a folder whose name is a digest of the settings, the code and the inputs: an
interrupted search, or one with another budget, finds what was made already. A training that was killed goes on at its
last epoch. Deleting the folder costs time only.

    .cache/search/<stage>-<digest>/made.json    written last: the folder is whole
                                   reads/       links to the inputs
                                   models/      the outputs
                                   reports/
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from src.detector.checkpoint import architecture_digest
from src.foundation.atomic import write_json
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, PREPARED, PRUNED, STUDENT, TEACHER
from src.searching.settings import settings_of
from src.workflow import tracking
from src.workflow.advice import with_advice
from src.workflow.code import code_digest
from src.workflow.stage import perform
from src.workflow.stage_files import StageFiles

READS = {
    "distill": (TEACHER,),
    "prune": (TEACHER, STUDENT),
    "calibrate": (PRUNED,),
    "quantize": (PRUNED, FLOAT_ONNX, CALIBRATION),
}
"""The models that each stage reads, besides the folder `data`."""

OWN_DATA = (PREPARED, "data/weights", "data/unlabelled", "data/predictions")
PACKAGES = ("torch", "ultralytics", "onnxruntime")
MADE = "made.json"


@dataclass(frozen=True)
class Made:
    """The result of a stage.

    Attributes:
        folder: of its outputs.
        metrics: its report.
        seconds: that it took, after an interruption the last part of it.
    """

    folder: Path
    metrics: dict[str, Any]
    seconds: float

    @property
    def val_map50_95(self) -> float:
        """The accuracy on val, in [0, 1]."""
        return float(self.metrics["val"]["map50_95"])


@dataclass(frozen=True)
class Chain:
    """Runs stages and keeps their results.

    Attributes:
        project: the root of the checkout, with the data and the teacher.
        root: the folder of the results.
    """

    project: Path
    root: Path

    def make(
        self,
        stage: str,
        overrides: Sequence[str],
        models: Mapping[str, Path],
        parent_run_id: str | None,
        name: str,
    ) -> Made:
        """Return the result of a stage, made if it is not there.

        Args:
            stage: one of `READS`.
            overrides: of its settings in params.yaml.
            models: the files that it reads, by their names in the pipeline; others are ignored.
            parent_run_id: of the run in MLflow that its run is below.
            name: of the network, for its run and for errors.

        Raises:
            UserError: the stage raised it.
        """
        settings = settings_of(stage, overrides)
        inputs = {model: models[model] for model in READS[stage]}
        folder = self.root / f"{stage}-{self._key(stage, settings.params, inputs)}"
        if not (folder / MADE).exists():
            reads = self._linked(folder / "reads", inputs)
            files = StageFiles(stage, reads, folder, in_sweep=True)
            run = import_module(f"src.{stage}").run
            begun_s = time.monotonic()
            try:
                with tracking.run(
                    stage, settings.tunables, settings.config_yaml, self.project, parent_run_id, f"{stage}: {name}"
                ) as log:
                    perform(run, settings.params, files, log)
            except UserError as error:
                raise UserError(f"{name}: {with_advice(error, stage)}") from error
            write_json(folder / MADE, {"seconds": round(time.monotonic() - begun_s, 1)})
        report = json.loads((folder / f"reports/{stage}.json").read_text(encoding="utf-8"))
        seconds = json.loads((folder / MADE).read_text(encoding="utf-8"))["seconds"]
        return Made(folder, report, float(seconds))

    def _key(self, stage: str, params: Any, inputs: Mapping[str, Path]) -> str:
        student = getattr(params, "student", None)
        made_by = [
            f"{params!r} {params.cpu_threads}",
            code_digest(f"src.{stage}"),
            *(version(package) for package in PACKAGES),
            *([architecture_digest(student.architecture)] if student else []),
            *(digest(path) for name in OWN_DATA if (path := self.project / name).exists()),
            *map(digest, inputs.values()),
        ]
        return hashlib.sha256("\n".join(made_by).encode()).hexdigest()[:16]

    def _linked(self, reads: Path, inputs: Mapping[str, Path]) -> Path:
        """Make a folder that looks like a project to a stage, and return it."""
        (reads / "models").mkdir(parents=True, exist_ok=True)
        links = {reads / name: path for name, path in inputs.items()}
        for name in ("data", ".cache"):  # the teacher's answers are kept in .cache
            links[reads / name] = self.project / name
        for link, path in links.items():
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
        return reads
