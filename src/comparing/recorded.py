"""What dvc.lock records of the pipeline, as DVC reads it: in the working tree or, within `repo.switch`, in a commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.comparing.sides import PARAMS
from src.foundation.errors import UserError

CODE, CONFIG, SETTINGS, DATA, RESULT = "code", "config", "settings", "data", "result"
"""Kinds of files that stages read or write."""


@dataclass(frozen=True)
class RecordedStage:
    """The last run of a stage: the digest of each file and folder that it read and wrote, by path."""

    reads: Mapping[str, str]
    writes: Mapping[str, str]


@contextmanager
def opened(project: Path) -> Iterator[Any]:
    """Yield the project's `dvc.repo.Repo`.

    Raises:
        UserError: DVC cannot read something in the block, such as a dvc.lock with marks of a merge.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    try:
        with Repo(str(project)) as repo:
            yield repo
    except (DvcException, SCMError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"DVC cannot read the pipeline: {reason}: mend dvc.yaml and dvc.lock") from error


def stages_of(repo: Any) -> list[Any]:
    """Return DVC's stages of dvc.yaml, in its order. The files that `dvc add` writes are no stages."""
    return [stage for stage in repo.index.stages if getattr(stage, "name", None)]


def recorded_stages(repo: Any) -> dict[str, RecordedStage]:
    """Return what dvc.lock records of each stage, by its name."""
    return {
        stage.name: RecordedStage(
            {dep.def_path: dep.hash_info.value for dep in stage.deps if dep.hash_name == "md5" and dep.hash_info},
            {out.def_path: out.hash_info.value for out in stage.outs if out.hash_info},
        )
        for stage in stages_of(repo)
    }


def kind_of(path: str) -> str:
    """Return the kind of a file or folder that a stage reads or writes.

    >>> kind_of("src/labels"), kind_of("data/prepared"), kind_of("models/teacher.pt"), kind_of("/home/ann/photos")
    ('code', 'data', 'result', 'data')
    """
    if path == PARAMS:
        return SETTINGS
    folders = {"src": CODE, "conf": CONFIG, "models": RESULT, "reports": RESULT}
    return folders.get(path.partition("/")[0], DATA)
