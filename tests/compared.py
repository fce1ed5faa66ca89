"""A small project in git and DVC, of which tests make two sides to compare."""

from __future__ import annotations

import json
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

from dvc.repo import Repo

DVC_YAML = """\
stages:
  train-teacher:
    cmd: "true"
    params: [train_teacher]
    deps: [data/prepared, data/raw, conf/train_teacher.yaml, src/train_teacher.py, src/detector]
    outs: [models/teacher.pt, models/pruned.onnx]
    metrics: [reports/train_teacher.json: {cache: false}]
  eval-int8:
    cmd: "true"
    params: [eval_int8]
    deps: [models/teacher.pt, params.yaml, src/eval_int8.py]
    outs: [models/int8.onnx]
    metrics:
      - reports/eval_int8.json: {cache: false}
      - reports/latency.json: {cache: false}
"""

MACHINE: dict[str, Any] = {
    "cpu": "AMD EPYC",
    "flags": ["avx2", "avx512_vnni"],
    "cores": 2,
    "versions": {"torch": "2.13.0", "onnxruntime": "1.31.1"},
    "threads": 1,
}


def accuracy(int8: float = 0.75, fp32: float = 0.76, **more: Any) -> dict[str, Any]:
    """Return a report of eval-int8; `more` is added on top."""
    models = {name: {"map50_95": fp32} for name in ("teacher", "student", "pruned", "onnx_fp32")}
    of_int8 = {"map50_95": int8, "size_mib": 1.75, "per_class": {"parameters": {"map50": int8, "map50_95": int8}}}
    return {**models, "onnx_int8": of_int8, "int8_drop": {"vs_fp32": round(fp32 - int8, 6)}, **more}


def latency(int8_ms: float = 1.0, spread_ms: float = 0.125, **machine: Any) -> dict[str, Any]:
    """Return a report of latencies; FP32 takes 2 ms. `machine` replaces entries of `MACHINE`."""
    times = {"onnx_int8": int8_ms, "onnx_fp32": 2.0, "teacher": 20.0}
    return {
        **{name: {"p50_ms": ms, "p95_ms": ms + spread_ms} for name, ms in times.items()},
        "speedup": {"int8_vs_fp32": 2.0 / int8_ms},
        "machine": {**MACHINE, **machine},
    }


class Compared:
    """The project. `main` has its first commit; what a test writes is in the working tree."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self) -> None:
        """Write it all, let dvc.lock record it, and commit it."""
        self.write(".gitignore", "/models/\n/data/prepared\n")
        self.write(".dvcignore", "__pycache__/\n")
        self.write("dvc.yaml", DVC_YAML)
        self.write("params.yaml", "train_teacher:\n  epochs: 12\neval_int8:\n  max_drop: 0.03\n")
        self.write("constraints.txt", "numpy==2.0 # tested\n")
        self.write("conf/train_teacher.yaml", "lr0: 0.01\n")
        self.write("src/train_teacher.py", "EPOCHS = 12\n")
        self.write("src/detector/boxes.py", "WIDTH = 2\n")
        self.write("src/eval_int8.py", "SCORE = 0.25\n")
        self.write("data/raw/labels.txt", "digits\n")
        self.write("data/prepared/labels.txt", "digits\n")
        self.write("models/teacher.pt", "teacher\n")
        self.write("models/pruned.onnx", "pruned\n")
        self.write("models/int8.onnx", "int8\n")
        self.report("train_teacher", {"val": {"map50_95": 0.7}})
        self.report("eval_int8", accuracy())
        self.report("latency", latency())
        self.call("git", "init", "-q", "-b", "main")
        self.call("git", "config", "user.email", "tests@localhost")
        self.call("git", "config", "user.name", "tests")
        with chdir(self.root), Repo.init() as repo:
            repo.add("data/prepared")
        self.record()
        self.commit("start")

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def report(self, name: str, content: dict[str, Any]) -> None:
        """Write a report."""
        self.write(f"reports/{name}.json", json.dumps(content, indent=2) + "\n")

    def call(self, *command: str) -> None:
        """Run a command in the project."""
        subprocess.run(command, cwd=self.root, check=True, capture_output=True)

    def record(self, stage: str | None = None) -> None:
        """Let dvc.lock record the files as they are, of one stage or all, as if they had run."""
        with chdir(self.root), Repo() as repo:
            repo.commit(stage, force=True)

    def add_data(self) -> None:
        """Let data/prepared.dvc record the data as it is."""
        with chdir(self.root), Repo() as repo:
            repo.add("data/prepared")

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.call("git", "add", "-A")
        self.call("git", "commit", "-qm", message)

    def without_data(self) -> None:
        """Remove what git does not hold: models, data and DVC's cache, as in a fresh clone."""
        self.call("git", "clean", "-dfxq", "-e", ".dvc")
        self.call("rm", "-rf", ".dvc/cache", ".dvc/tmp")
