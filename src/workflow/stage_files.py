"""The files of a stage: inputs from the project, outputs to the project (under DVC) or to Hydra's folder (by hand)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from src.foundation.atomic import remove_abandoned
from src.foundation.errors import UserError


@dataclass
class StageFiles:
    """Where the inputs and outputs of a stage lie. It remembers both: MLflow links runs by the digests of these files.

    Attributes:
        stage: its name.
        project: the root of the inputs.
        output: the root of the outputs.
        in_sweep: whether this is a job of a Hydra sweep.
        item: which of the stages that DVC makes of this one, such as `integer` of deploy@integer; None: it makes one.
        inputs: files and folders that were read, by name.
        outputs: files and folders that were written, by name.
    """

    stage: str
    project: Path
    output: Path
    in_sweep: bool = False
    item: str | None = None
    inputs: dict[str, Path] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)

    @property
    def is_pipeline(self) -> bool:
        """Whether DVC runs the stage as a part of the pipeline."""
        return self.output == self.project

    @property
    def report(self) -> str:
        """The name of the stage's report, without suffix: reports/distill, reports/deploy/integer."""
        return "/".join(filter(None, ["reports", self.stage, self.item]))

    def read(self, name: str) -> Path:
        """Return the path of an earlier stage's output, such as models/teacher.pt.

        Raises:
            UserError: it is not there.
        """
        path = self.project / name
        if not path.exists():
            raise UserError(f"{name} is not there: run `dvc repro` (or `dvc pull`) first")
        self.inputs[name] = path
        return path

    def read_own(self, name: str) -> Path:
        """Return the path of a user's file, relative to the project or absolute. It may not exist."""
        path = self.project / name
        if path.exists():
            self.inputs[name] = path
        return path

    def write(self, name: str) -> Path:
        """Return the path of this stage's output `name`. Its folder exists, without remains of dead processes."""
        path = self.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        self.outputs[name] = path
        return path

    def cache(self, name: str) -> Path:
        """Return the folder of a cache that all runs of the project share. No result depends on what it holds."""
        return self.project / ".cache" / name
