"""The small project that gets the faults, and the checks of its state afterwards."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.photographs import cloned
from src.foundation.atomic import write_json
from src.foundation.digests import digest

PIPELINE = {
    "prepare-labels": "prepare_labels",
    "train-teacher": "train_teacher",
    "distill-student": "distill",
    "prune": "prune",
    "calibrate": "calibrate",
    "quantize": "quantize",
    "eval-int8": "eval_int8",
}
"""The pipeline's stages in order, and their modules."""

SMALL: dict[str, dict[str, Any]] = {
    "params.yaml": {
        "common": {"imgsz": 64, "threads": 1},
        **{stage: {"epochs": 3, "batch": 8} for stage in ("train_teacher", "distill", "prune")},
        "calibrate": {"images": 8},
        "eval_int8": {"latency_rounds": 3, "pictures": 1, "max_drop": 1.0},
    },
    "conf/data/digits.yaml": {"train_images": 32, "val_images": 8, "test_images": 8, "size_px": 64, "most_digits": 4},
    "conf/teacher/yolov8s.yaml": {"architecture": "yolov8n.yaml"},
}
"""Changes of the clone: a stage takes seconds."""

MEASURED = {"reports/latency.json", "reports/report.md", "reports/pareto.png"}
"""Outputs with measured times: they differ from run to run."""

NOT_RECORDED = "did not record all of run"
"""Part of the warning of a stage whose record is incomplete."""

HIDDEN = {"MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"}
PATIENCE_S = 300


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        code: its exit code, or the negative number of the signal.
        text: its standard output and error.
    """

    code: int
    text: str

    @property
    def complaint(self) -> str:
        """The fault in how it ended; empty: none."""
        if "Traceback (most recent call last)" in self.text:
            return "a traceback"
        return "" if self.code == 0 else f"exit code {self.code}: {self.last_line}"

    @property
    def last_line(self) -> str:
        """The last line that is not empty."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Running:
    """A process in a session of its own, whose output goes to a file."""

    def __init__(self, root: Path, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.log = root / ".cache" / f"torture-{time.time_ns()}.log"
        self.log.parent.mkdir(exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if key not in HIDDEN}
        inherited["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # of the commands in dvc.yaml
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=root,
                env={**inherited, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the session, as a terminal that closes does."""
        for process in self.members():
            with_suppressed(process.send_signal, number)

    def members(self) -> list[psutil.Process]:
        """Return the processes of the session that are alive."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.Error):
                continue
        return found

    def end(self) -> Ended:
        """Wait until all processes of the session have ended; after `PATIENCE_S` end them by force."""
        deadline_s = time.monotonic() + PATIENCE_S
        while (alive := self.members()) and time.monotonic() < deadline_s:
            psutil.wait_procs(alive, timeout=1)
            self.process.poll()
        for process in alive:
            with_suppressed(process.kill)
        code = self.process.wait()
        text = self.log.read_text(encoding="utf-8", errors="replace")
        self.log.unlink()
        return Ended(code, text + (f"\nstill alive after {PATIENCE_S} s" if alive else ""))


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module."""
    return [sys.executable, "-m", module, *arguments]


def with_suppressed(call: Any, *arguments: Any) -> None:
    """Call a method of a process that may have ended."""
    try:
        call(*arguments)
    except psutil.Error:
        return


@dataclass(frozen=True)
class Victim:
    """A project in which `dvc repro` has run undisturbed.

    Attributes:
        root: its folder.
    """

    root: Path

    @classmethod
    def made(cls, root: Path) -> Victim:
        """Return the project in a folder, made of the last commit if there is none."""
        victim = cls(root)
        if not (root / ".cache/undisturbed.json").exists():
            shutil.rmtree(root, ignore_errors=True)
            cloned(root)
            for name, changes in SMALL.items():
                content = yaml.safe_load((root / name).read_text(encoding="utf-8"))
                for key, value in changes.items():
                    content[key] = {**content[key], **value} if isinstance(value, Mapping) else value
                (root / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
            victim.commit("small")
            seconds = {}
            for stage in PIPELINE:
                begun = time.perf_counter()
                ended = victim.repro(stage).end()
                if ended.complaint:
                    sys.exit(f"error: {stage} failed undisturbed: {ended.complaint}")
                seconds[stage] = time.perf_counter() - begun
            victim.commit("reproduced")
            digests = {stage: victim.digests(stage) for stage in PIPELINE}
            write_json(root / ".cache/undisturbed.json", {"digests": digests, "seconds": seconds})
        return victim

    def commit(self, message: str) -> None:
        """Commit all files."""
        author = ["-c", "user.name=torture", "-c", "user.email=torture@localhost"]
        subprocess.run(["git", "add", "-A"], cwd=self.root, check=True)
        subprocess.run(["git", *author, "commit", "-qm", message], cwd=self.root, check=True)

    @cached_property
    def undisturbed(self) -> dict[str, Any]:
        """Digests of the outputs and seconds of each stage in an undisturbed run."""
        found: dict[str, Any] = json.loads((self.root / ".cache/undisturbed.json").read_text(encoding="utf-8"))
        return found

    def seconds(self, stage: str) -> float:
        """Return the duration of a stage under `dvc repro`."""
        return float(self.undisturbed["seconds"][stage])

    def repro(self, stage: str) -> Running:
        """Start `dvc repro` of a single stage. Without `-f` DVC would restore the outputs from its run cache."""
        return Running(self.root, python("dvc", "repro", "-f", "-s", stage))

    def by_hand(self, stage: str, *arguments: str, **environment: str) -> Running:
        """Start a stage by hand."""
        return Running(self.root, python(f"src.{PIPELINE[stage]}", *arguments), environment)

    def digests(self, stage: str, output: Path | None = None) -> dict[str, str]:
        """Return the md5 of each file that a stage writes, without measured times; "absent" for one that is missing.

        Args:
            stage: of the pipeline.
            output: where the stage wrote; None: the project.
        """
        root = output or self.root
        entries = yaml.safe_load((self.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
        named = [entry for kind in ("outs", "metrics", "plots") for entry in entries.get(kind, [])]
        names = [name if isinstance(name, str) else next(iter(name)) for name in named]
        return {
            name: digest(root / name) if (root / name).exists() else "absent" for name in names if name not in MEASURED
        }

    def losses(self, stage: str) -> list[str]:
        """Return the differences from the state after an undisturbed run of a stage."""
        expected = self.undisturbed["digests"][stage]
        found = [f"{name} differs" for name, md5 in self.digests(stage).items() if md5 != expected[name]]
        partial = [path for path in self.root.rglob(".*.partial*") if ".git" not in path.parts]
        found += [f"{path.relative_to(self.root)} is left" for path in partial]
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout
        found += [f"{line[3:]} is left" for line in status.splitlines() if line.startswith("??")]
        states = self.root / ".checkpoints"
        found += [f"{path.name} is left" for path in states.glob("*") if path.is_dir()] if states.exists() else []
        if running := count_running(self.root / "mlflow.db"):
            found.append(f"{running} runs are RUNNING")
        return found


def count_running(database: Path) -> int:
    """Return the number of MLflow runs that are RUNNING."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return int(connection.execute("select count(*) from runs where status = 'RUNNING'").fetchone()[0])


@dataclass(frozen=True)
class Attempt:
    """A fault that was injected.

    Attributes:
        fault: its kind.
        where: the stage or the writer.
        how: the details that repeat it.
        lost: the losses.
    """

    fault: str
    where: str
    how: str
    lost: list[str]
