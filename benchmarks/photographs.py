"""Shared by benchmarks: BCCD, prepared with a teacher of its own, and the folders of kept results."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from src import PROJECT
from src.foundation.atomic import whole_folder
from src.foundation.digests import digest
from src.foundation.pipeline import PREPARED, TEACHER
from src.workflow.code import code_digest, modules_of


def bccd_folder(value: str) -> Path:
    """Return the folder that the command line names, as the type of an argument of argparse.

    Raises:
        argparse.ArgumentTypeError: it does not hold BCCD.
    """
    folder = Path(value).resolve()
    if not (folder / "Annotations").is_dir():
        raise argparse.ArgumentTypeError(
            f"{value} has no Annotations: name the folder that holds BCCD's Annotations and JPEGImages (BCCD=...)"
        )
    return folder


def kept_folder(name: str, stages: Sequence[str], *rest: object) -> Path:
    """Return the folder in .cache/benchmarks that keeps the results of stages, so that a benchmark goes on there.

    Args:
        name: of the benchmark.
        stages: such as `distill`. The folder is another one for other code or settings of these.
        rest: everything else that the results depend on.

    Raises:
        SystemExit: the code or the settings differ from the last commit, of which benchmarks run a clone.
    """
    code = [path for stage in stages for path in modules_of(f"src.{stage}")]
    command = ["git", "status", "--porcelain", "--", "conf", "params.yaml", *map(str, code)]
    if subprocess.run(command, cwd=PROJECT, check=True, capture_output=True).stdout:
        sys.exit("error: commit first: benchmarks run a clone of the last commit, and code or settings differ from it")
    made_by = [
        code_digest(*(f"src.{stage}" for stage in stages)),
        digest(PROJECT / "conf"),
        digest(PROJECT / "params.yaml"),
    ]
    key = hashlib.sha256(" ".join([*made_by, *map(str, rest)]).encode()).hexdigest()
    folder = PROJECT / f".cache/benchmarks/{name}-{key[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cloned(folder: Path, commit: str = "HEAD") -> Path:
    """Return a clone of a commit in `folder`, made if there is none."""
    if not folder.exists():
        with whole_folder(folder) as partial:
            subprocess.run(["git", "clone", "-q", str(PROJECT), str(partial)], check=True)
            subprocess.run(["git", "checkout", "-q", commit], cwd=partial, check=True)
    return folder


def taught_project(folder: Path, root: Path, epochs: int, settings: Sequence[str], data: str = "bccd") -> Path:
    """Return a clone of the last commit that has labelled images prepared and a teacher, made where they are missing.

    Args:
        folder: of the clone.
        root: of the labelled images.
        epochs: the teacher's.
        settings: overrides of its other parameters.
        data: the file of conf/data that describes `root`.
    """
    project = cloned(folder)
    make(project, [PREPARED], "prepare_labels", f"data={data}", f"data.root={root}")
    make(project, [TEACHER], "train_teacher", f"epochs={epochs}", *settings)
    return project


def make(project: Path, outputs: Sequence[str], stage: str, *overrides: str) -> None:
    """Put outputs of a stage into a project, if the last of them is not there: it is put there last."""
    if not (project / outputs[-1]).exists():
        with tempfile.TemporaryDirectory(prefix="made-", dir=project) as made:
            run_stage(project, stage, *overrides, f"hydra.run.dir={made}")
            for output in outputs:
                (project / output).parent.mkdir(exist_ok=True)
                os.replace(Path(made) / output, project / output)


def run_stage(project: Path, stage: str, *overrides: str, fails: bool = False) -> None:
    """Run a stage of a project by hand, with its own code; `fails`: it may fail, and its reports are what is wanted."""
    subprocess.run([sys.executable, "-m", f"src.{stage}", *overrides], cwd=project, check=not fails)
