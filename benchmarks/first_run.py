"""How long the first run takes, and how soon the commands answer.

    make bench-first-run

In a clone of the last commit: every stage of the default pipeline once, then an idle `dvc repro`, `--help`, two
mistakes and the start of every stage, several times each. The bytes that the stages wrote are compared with those that
dvc.lock of the commit records. Writes reports/benchmarks/first_run.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import yaml
from tqdm import tqdm

from benchmarks.photographs import cloned
from src import PROJECT
from src.config.stages import STAGES
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_text

PAGE = PROJECT / "reports/benchmarks/first_run.md"
REPEATS = 5
PIPELINE = ("prepare-labels", "train-teacher", "distill-student", "prune", "calibrate", "quantize", "eval-int8")
ANSWERS = {
    "`dvc repro` with nothing to do": (["dvc", "repro"], 0),
    "`python -m src.distill --help`": (["src.distill", "--help"], 0),
    "a typo in a key: `python -m src.distill alhpa=0.5`": (["src.distill", "alhpa=0.5"], 1),
    "a value out of range: `python -m src.distill alpha=7`": (["src.distill", "alpha=7"], 1),
}
"""A user's action, the module with its arguments, and the exit code."""
UNTIL_FIRST_WORK = """
import sys, time
from src.workflow import command
from src.workflow.stage import StageResult

def until_work(stage, load, composed):
    def run(params, files, log):
        print("first work at", time.time(), flush=True)
        return StageResult({})
    def loaded():
        load()
        return run
    return execute(stage, loaded, composed)

execute, command.execute = command.execute, until_work
command.command(sys.argv.pop(1))
"""
"""A stage whose own work is left out: it is configured, imported and recorded as always."""


def main() -> None:
    """Measure in a clone of the last commit, and write the page."""
    parser = argparse.ArgumentParser(description="How long the first run takes, and how soon the commands answer.")
    parser.add_argument("--processors", type=int, help="run on that many of the processors that this process may use")
    arguments = parser.parse_args()
    usable = psutil.Process().cpu_affinity()
    if arguments.processors:
        psutil.Process().cpu_affinity(usable[: arguments.processors])
    with tempfile.TemporaryDirectory(prefix="first-run-") as scratch:
        project = cloned(Path(scratch) / "project")
        recorded = _outputs(project)
        stages = {stage: _seconds(project, ["dvc", "repro", "-f", "-s", stage], 0) for stage in tqdm(PIPELINE)}
        answers = {title: _repeated(project, *call) for title, call in tqdm(ANSWERS.items())}
        starts = {stage: _start(project, stage) for stage in tqdm(STAGES)}
        written = _outputs(project)
    differing = [path for path, md5 in recorded.items() if written.get(path) != md5]
    write_text(PAGE, page(len(psutil.Process().cpu_affinity()), stages, answers, starts, differing))


def _outputs(project: Path) -> dict[str, str]:
    """Return the md5 of the data and models that dvc.lock records, by path. Reports have timings, which differ."""
    stages = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    outs = [out for stage in stages for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if out["path"].startswith(("data/", "models/"))}


def _seconds(project: Path, call: Sequence[str], expected: int) -> float:
    begun = time.perf_counter()
    code = subprocess.run([sys.executable, "-m", *call], cwd=project, capture_output=True, check=False).returncode
    seconds = time.perf_counter() - begun
    if code != expected:
        sys.exit(f"error: `{' '.join(call)}` ended with {code} and not with {expected}")
    return seconds


def _repeated(project: Path, call: Sequence[str], expected: int) -> float:
    return _median(lambda: _seconds(project, call, expected))


def _start(project: Path, stage: str) -> float:
    """Return the seconds from the process to the first work of a stage."""

    def seconds() -> float:
        begun = time.time()
        command = [sys.executable, "-c", UNTIL_FIRST_WORK, stage]
        output = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
        return float(output.partition("first work at ")[2].split()[0]) - begun

    return _median(seconds)


def _median(measure: Callable[[], float]) -> float:
    measure()  # reads the files into the machine's memory
    return statistics.median(measure() for _ in range(REPEATS))


def page(
    processors: int,
    stages: Mapping[str, float],
    answers: Mapping[str, float],
    starts: Mapping[str, float],
    differing: Sequence[str],
) -> str:
    """Return the benchmark's page.

    Args:
        processors: number that the process may use.
        stages: seconds of each stage.
        answers: seconds of each action.
        starts: seconds from the process to the first work, by stage.
        differing: the outputs whose bytes are not those that dvc.lock records.
    """
    machine = describe_machine()
    lines = [
        "# How long the first run takes",
        "",
        f"The default pipeline on the embedded digits. {machine['cpu']} ({', '.join(machine['flags'])}), "
        f"{processors} processors, torch {machine['versions']['torch']}.",
        "",
        "`make bench-first-run`",
        "",
        "| stage | minutes |",
        "| --- | --- |",
        *(f"| {stage} | {seconds / 60:.1f} |" for stage, seconds in stages.items()),
        f"| together | {sum(stages.values()) / 60:.1f} |",
        "",
        f"Of other bytes than dvc.lock of the commit records: {', '.join(differing) or 'no data and no model'}.",
        "",
        f"How soon the commands answer: medians of {REPEATS}.",
        "",
        "| command | s |",
        "| --- | --- |",
        *(f"| {title} | {seconds:.1f} |" for title, seconds in answers.items()),
        *(
            f"| `python -m src.{stage}`, from the process to its first work | {seconds:.1f} |"
            for stage, seconds in starts.items()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
