"""What all seven stages share: where files lie, tracking, and errors in one line.

A stage is a function `run(params, place, log)`. It gets its typed parameters, a `Place` to read from and write to and a
tracking `Run` to log to, and returns its final metrics.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from src.errors import UserError


@dataclass
class Place:
    """Where a stage's files lie: inputs in the project, outputs in the project (under DVC) or in Hydra's folder.

    It remembers what was read and written: tracking links runs by the digests of these files.
    """

    project: Path
    output: Path
    was_read: dict[str, Path] = field(default_factory=dict)
    was_written: dict[str, Path] = field(default_factory=dict)

    def read(self, name: str) -> Path:
        """Return where the output `name` (such as models/teacher.pt) of an earlier stage lies.

        Raises:
            UserError: it is not there.
        """
        path = self.project / name
        if not path.exists():
            raise UserError(f"{name} is not there: run `dvc repro` (or `dvc pull`) first")
        self.was_read[name] = path
        return path

    def write(self, name: str) -> Path:
        """Return where this stage may write its output `name`; the parent folder is made."""
        path = self.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.was_written[name] = path
        return path
