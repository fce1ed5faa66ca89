"""everything: runs what is missing or stale, most important first, within a limit of time; then writes the page.

    make evidence BCCD=path CARDS=path HOURS=8
    python -m benchmarks.evidence.everything --hours 8 --only 'student@bccd-*' --only 'student@digits-*'

Each step of `order` in params.yaml is a `dvc repro` of its stages. At the limit the running stage is asked to end: it
closes its MLflow run and keeps its state, and the next call goes on there. A stage that fails stops those that need it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.evidence import EVIDENCE
from benchmarks.evidence.loading import load
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.runs import stages, steps
from src import PROJECT
from src.foundation.errors import UserError
from src.workflow.command import guarded

GRACE_S = 300
"""The time that a stage has to end at the limit: an epoch, and the closing of its run."""


def main() -> None:
    """Run the steps, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence.everything", description="Run the evidence.")
    parser.add_argument("--hours", type=float, help="stop after this time; the next call goes on")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="stages, such as 'student@bccd-*'")
    parser.add_argument("--list", action="store_true", help="show the order, and run nothing")
    arguments = parser.parse_args()
    protocol = load()
    wanted = steps(protocol, arguments.only or ["*"])
    if not wanted:
        raise UserError(f"no stage fits {' or '.join(arguments.only)}: --list shows all")
    if arguments.list:
        print("\n\n".join("\n".join(step) for step in wanted))
        return
    wanted = _present(wanted, protocol)
    end_s = None if arguments.hours is None else time.monotonic() + 3600 * arguments.hours
    failed = [step for step in wanted if not _reproduced(step, end_s)]
    has_page = _dvc("repro", "--single-item", "page") == 0
    if not has_page or (failed and not _is_over(end_s)):
        raise UserError("some stages failed; their messages are above")


def _present(wanted: list[list[str]], protocol: Protocol) -> list[list[str]]:
    """Return the steps without the stages whose dataset is not here, and print a line for each such folder."""
    found, absent = [], set()
    for step in wanted:
        roots = {stage: protocol.datasets[run.data].root for stage, run in stages(protocol).items() if stage in step}
        absent |= {root for root in roots.values() if not (PROJECT / root).exists()}
        found.append([stage for stage in step if roots[stage] not in absent])
    for root in sorted(absent):
        print(f"left out: {root} is not there: put or link the folder there (see the README.md beside it)", flush=True)
    return [step for step in found if step]


def _reproduced(step: list[str], end_s: float | None) -> bool:
    """Run the stages of a step, and return whether all of them are done."""
    return not _is_over(end_s) and _dvc("repro", "--keep-going", *step, end_s=end_s) == 0


def _is_over(end_s: float | None) -> bool:
    return end_s is not None and time.monotonic() >= end_s


def _dvc(*arguments: str, end_s: float | None = None) -> int:
    """Run DVC in the evidence's folder, until a time at most, and return its exit code."""
    command = [sys.executable, "-m", "dvc", *arguments]
    # dvc.yaml says `python`: this one, also where its environment was not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # A session of its own: Ctrl-C reaches this process alone, which ends the two in their order.
    process = subprocess.Popen(command, cwd=EVIDENCE, start_new_session=True, env={**os.environ, "PATH": path})
    try:
        return process.wait(None if end_s is None else max(0.0, end_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        print("the time is over: the running stage ends, and keeps its state", flush=True)
        return _ended(process)
    except KeyboardInterrupt:
        _ended(process)
        raise


def _ended(process: subprocess.Popen[bytes]) -> int:
    """End DVC, whose stage then ends by itself (src/workflow/one_writer.py), and wait for both.

    DVC gets no SIGINT, which a shell's background jobs ignore; nor does its stage alone, after whose failure DVC would
    begin the next one.
    """
    stages = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    code = process.wait()  # first: to its stage a process that nobody waited for looks alive
    _, alive = psutil.wait_procs(stages, GRACE_S)
    for one in alive:
        one.kill()
    psutil.wait_procs(alive)
    return code


if __name__ == "__main__":
    raise SystemExit(guarded(main))
