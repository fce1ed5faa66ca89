"""Runs a stage of the pipeline in folders of its own, records it in MLflow, and writes the result of a run.

A run that is killed goes on where it stopped: its stage keeps the state of a training in made/<data>/.checkpoints.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import OmegaConf

from benchmarks.evidence import EVIDENCE, MADE
from benchmarks.evidence.loading import load
from benchmarks.evidence.measuring import Measured, to_text
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.runs import Run, asked
from benchmarks.evidence.sealing import split_digest
from benchmarks.evidence.settings import Plan, composed, plan_of
from src import PROJECT
from src.config.composition import typed
from src.detector.precision import dtype_for
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_json
from src.foundation.digests import digest
from src.foundation.pipeline import PREPARED
from src.workflow import tracking
from src.workflow.lineage import git_output
from src.workflow.one_writer import only_writer
from src.workflow.stage import Stage, perform, tunables
from src.workflow.stage_files import StageFiles

EXPERIMENT = "evidence"
"""In MLflow, unless MLFLOW_EXPERIMENT_NAME gives another."""

CODE = ("src", "conf", "params.yaml", "benchmarks/evidence/*.py", "benchmarks/evidence/params.yaml")


@dataclass(frozen=True)
class Begun:
    """A run at its beginning: what it is made from is settled here, as files may be edited while it trains.

    Attributes:
        protocol: of the evidence.
        run: that the command line names.
        plan: what it depends on.
        commit: the last one; None without git.
        changed: whether code or settings differ from it.
    """

    protocol: Protocol
    run: Run
    plan: Plan
    commit: str | None
    changed: bool


def begin(kind: str) -> Begun:
    """Return the run that the command line names.

    Raises:
        UserError: the protocol is faulty, or asks for no such run.
    """
    protocol = load()
    run = asked(protocol, kind, sys.argv[1:])
    changed = bool(git_output(PROJECT, "status", "--porcelain", "--", *CODE))
    return Begun(protocol, run, plan_of(run, protocol), git_output(PROJECT, "rev-parse", "HEAD"), changed)


@dataclass(frozen=True)
class Done:
    """A stage that has run.

    Attributes:
        params: its typed settings.
        metrics: that it returned.
        output: the folder that it wrote to.
    """

    params: Any
    metrics: Mapping[str, Any]
    output: Path


@contextmanager
def performed(
    run: Run, stage: str, overrides: list[str], project: Path, compute: Stage | None = None
) -> Iterator[Done]:
    """Run a stage, and yield what it wrote; the folder is removed at the end of the block.

    It is a run in MLflow's experiment `evidence`. No other run of the evidence writes meanwhile.

    Args:
        run: whose stage it is.
        stage: its name.
        overrides: of its settings.
        project: the folder that the stage reads data/prepared and models/teacher.pt from.
        compute: in place of the stage's own function.
    """
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    os.environ["DVC_ROOT"] = str(PROJECT)  # DVC named the evidence's own folder; its runs are in the project's store
    config, choices = composed(stage, overrides)
    params = typed(stage, config)
    compute = compute or import_module(f"src.{stage}").run
    text = OmegaConf.to_yaml(config, resolve=True)
    with only_writer(EVIDENCE, run.name), TemporaryDirectory(prefix=".made-", dir=_folder_of(run)) as made:
        files = StageFiles(stage, project, Path(made))
        with tracking.run(stage, tunables(config, choices), text, PROJECT, name=run.name) as log:
            log.tags({"evidence": run.name, "evidence.kind": run.kind, "evidence.data": run.data})
            result = perform(compute, params, files, log)
        yield Done(params, result.metrics, Path(made))


def _folder_of(run: Run) -> Path:
    folder = MADE / run.data
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def minutes_of(run: Run) -> Iterator[list[float]]:
    """Yield a list that gets the minutes of the block at its end, with those of its interrupted attempts.

    A process that is killed without a chance to close counts nothing.
    """
    path = EVIDENCE / f".clock/{run.name}.json"
    before = float(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else 0.0
    begun, found = time.monotonic(), list[float]()
    try:
        yield found
    except BaseException:
        write_json(path, before + (time.monotonic() - begun) / 60)
        raise
    found.append(round(before + (time.monotonic() - begun) / 60, 2))
    path.unlink(missing_ok=True)


def write_result(
    begun: Begun, *, digests: Mapping[str, str | None], facts: Mapping[str, Any], params: Any = None
) -> None:
    """Write the JSON of a run.

    Args:
        begun: the run.
        digests: of what it read, by name.
        facts: what it found.
        params: the typed settings of its training; None: nothing was trained.
    """
    prepared = MADE / begun.run.data / PREPARED
    data = {"data": digest(prepared), "test": split_digest(prepared, "test")}
    planned = begun.plan.content
    content = {
        "run": planned["run"],
        "computed_by": planned["computed_by"],
        "digests": {**planned["digests"], **data, **digests},
        **facts,
        "made": {"commit": begun.commit, "changed_since_commit": begun.changed, **_made(params)},
    }
    write_json(begun.run.result, content)


def measured_facts(measured: Measured) -> dict[str, Any]:
    """Return the part of a result that a measurement on the test images is."""
    return {"test": measured.accuracy, "draws": to_text(measured.scores)}


def _made(params: Any) -> dict[str, Any]:
    """Return the machine that made a result, and how its training computed."""
    machine = describe_machine()
    found = {"cpu": machine["cpu"], "versions": machine["versions"]}
    if params is not None:
        on_gpu = torch.cuda.is_available() and params.device != "cpu"
        found |= {
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "threads": params.cpu_threads,
            "precision": str(dtype_for(params.precision, params.device)).removeprefix("torch."),
        }
    return found
