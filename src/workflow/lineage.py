"""Where a run comes from: its commit, and the runs that wrote what it read."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from src.reporting.escaping import plain
from src.workflow.abandoned import process_tags
from src.workflow.code import modules_of
from src.workflow.store import OpenStore

SETTINGS = ("conf", "params.yaml")


def identity_tags(stage: str, project: Path) -> dict[str, str]:
    """Return the tags of a run's origin: stage, process, commit, DVC stage and experiment.

    `git.dirty` tells whether the stage's code or settings differ from the commit.
    """
    tags = {"stage": stage, "mlflow.source.name": f"python -m src.{stage}", "mlflow.source.type": "LOCAL"}
    tags |= process_tags()
    for tag, variable in {"dvc.stage": "DVC_STAGE", "dvc.experiment": "DVC_EXP_NAME"}.items():
        if value := os.environ.get(variable):
            tags[tag] = value
    commit = git_output(project, "rev-parse", "HEAD")
    if commit:
        code = [str(path) for path in modules_of(f"src.{stage}")]
        tags["mlflow.source.git.commit"] = commit
        tags["git.dirty"] = json.dumps(bool(git_output(project, "status", "--porcelain", "--", *SETTINGS, *code)))
    return tags


def link_upstream(store: OpenStore, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Tag a run with the runs that wrote its inputs, and describe both in its note, with links.

    Args:
        store: with the run.
        inputs: the md5 of each file read, by name.
        outputs: the md5 of each file written, by name.
    """
    lines = []
    for name, md5 in inputs.items():
        found = store.client.search_runs(
            [store.experiment_id],
            f"tags.`output.{name}` = '{md5}'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if found:
            info = found[0].info
            store.client.set_tag(store.run_id, f"upstream.{name}", info.run_id)
            link = f"[{plain(info.run_name)}](#/experiments/{info.experiment_id}/runs/{info.run_id})"
            lines.append(f"- reads `{name}`, written by {link}")
        else:
            lines.append(f"- reads `{name}` (md5 {md5}), written by no run in this store")
    lines += [f"- writes `{name}` (md5 {md5})" for name, md5 in outputs.items()]
    store.client.set_tag(store.run_id, "mlflow.note.content", "\n".join(lines))


def git_output(project: Path, *arguments: str) -> str | None:
    """Return what git prints in a folder; None without git or outside of a repository."""
    try:
        # DVC may hold the lock of git's index.
        command = ["git", "--no-optional-locks", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
