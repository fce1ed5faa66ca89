"""Which stages are stale: their code, settings, data or reports are not those that dvc.lock records.

DVC's own comparison of each dependency answers it. `dvc status` also calls everything changed that is not there; here
data and models that are in DVC's cache alone are compared by what dvc.lock and .dvc files record, so none is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from src.comparing.git import changed_files, content, last_commit_of
from src.comparing.recorded import CODE, CONFIG, DATA, SETTINGS, kind_of, stages_of
from src.comparing.sides import PARAMS, flat
from src.workflow.code import without_comments

MODIFIED, GONE, NEW = "modified", "gone", "new"


@dataclass(frozen=True)
class Cause:
    """Why a stage is stale.

    Attributes:
        what: a path, a key of params.yaml, or "command".
        state: modified, gone or new.
        comments_alone: whether it is code or YAML in which nothing but comments, docstrings and formatting changed;
            False also where the text that ran is not known.
    """

    what: str
    state: str
    comments_alone: bool = False


@dataclass(frozen=True)
class StaleStage:
    """A stage that `dvc repro` would run, and why; without a cause dvc.lock has no run of it."""

    stage: str
    causes: tuple[Cause, ...]


@dataclass(frozen=True)
class Staleness:
    """The stale stages in the order of the pipeline, and the data that is not here and that nothing records."""

    stages: tuple[StaleStage, ...]
    unchecked: tuple[str, ...]


def staleness_of(repo: Any) -> Staleness:
    """Return which stages are stale in DVC's current file system.

    Args:
        repo: a `dvc.repo.Repo`.
    """
    cached = {out.fs_path: out.hash_info for out in repo.index.outs if out.use_cache}
    stale, unchecked = [], set()
    for stage in stages_of(repo):
        if not any(one.hash_info for one in (*stage.deps, *stage.outs)):
            stale.append(StaleStage(stage.name, ()))
            continue
        causes = [Cause("command", MODIFIED)] if stage.cmd_changed else []
        for dep in stage.deps:
            if dep.fs_path in cached:
                causes += [] if dep.hash_info == cached[dep.fs_path] else [Cause(dep.def_path, MODIFIED)]
            elif kind_of(dep.def_path) == DATA and not dep.exists:
                unchecked.add(dep.def_path)
            else:
                causes += _changes(dep)
        causes += [cause for out in stage.outs if not out.use_cache for cause in _changes(out)]
        if causes:
            stale.append(StaleStage(stage.name, tuple(causes)))
    return Staleness(tuple(stale), tuple(sorted(unchecked)))


def with_comments_told(stale: Staleness, project: Path, repo: Any) -> Staleness:
    """Return the same for the working tree, with `comments_alone` where the text that ran is known.

    It is looked for in the last commit that changed dvc.lock; DVC confirms it by its digest.
    """
    commit = last_commit_of(project, "dvc.lock")
    if commit is None or not stale.stages:
        return stale
    ran = _as_they_ran(repo, commit)

    def told(stage: str, cause: Cause) -> Cause:
        known = cause.state == MODIFIED and (stage, cause.what) in ran
        return replace(cause, comments_alone=known and _only_comments_differ(project, commit, cause.what))

    stages = (replace(one, causes=tuple(told(one.stage, cause) for cause in one.causes)) for one in stale.stages)
    return replace(stale, stages=tuple(stages))


def _changes(file: Any) -> Iterator[Cause]:
    """Yield how a dependency or output of DVC differs from what dvc.lock records."""
    status = file.status()
    if not status:
        return
    state = status[str(file)]
    if isinstance(state, dict):  # params.yaml: the state of each section
        yield from _changed_params(file, state)
    elif state == "deleted":
        yield Cause(file.def_path, GONE)
    else:
        yield Cause(file.def_path, MODIFIED if file.hash_info else NEW)


def _changed_params(dep: Any, sections: Mapping[str, str]) -> Iterator[Cause]:
    now, ran = dep.read_params(), dep.hash_info.value
    old, new = (flat({key: values[key] for key in sections if key in values}) for values in (ran, now))
    for key in sorted(old.keys() | new.keys()):
        if key not in old or key not in new:
            yield Cause(f"{PARAMS}: {key}", NEW if key in new else GONE)
        elif old[key] != new[key]:
            yield Cause(f"{PARAMS}: {key}", MODIFIED)


def _as_they_ran(repo: Any, commit: str) -> set[tuple[str, str]]:
    """Return the code and settings that a commit has as dvc.lock records them now; none if DVC cannot read it there."""
    from dvc.exceptions import DvcException

    recorded = {key: dep.hash_info for key, dep in _texts(repo).items()}
    try:
        with repo.switch(commit):
            return {key for key, dep in _texts(repo).items() if dep.hash_info == recorded.get(key) and not dep.status()}
    except DvcException:
        return set()


def _texts(repo: Any) -> dict[tuple[str, str], Any]:
    """Return DVC's dependencies on code and settings, by stage and path."""
    return {
        (stage.name, dep.def_path): dep
        for stage in stages_of(repo)
        for dep in stage.deps
        if dep.hash_name == "md5" and kind_of(dep.def_path) in (CODE, CONFIG, SETTINGS)
    }


def _only_comments_differ(project: Path, commit: str, path: str) -> bool:
    """Return whether all files at or below `path` mean in the working tree what they meant in a commit."""
    files = changed_files(project, commit, path)
    return bool(files) and all(_means_the_same(project, commit, file) for file in files)


def _means_the_same(project: Path, commit: str, path: str) -> bool:
    meaning = {".py": without_comments, ".yaml": yaml.safe_load}.get(Path(path).suffix)
    before, file = content(project, commit, path), project / path
    if meaning is None or before is None or not file.is_file():
        return False
    try:
        return bool(meaning(before.decode("utf-8")) == meaning(file.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError, yaml.YAMLError):
        return False
