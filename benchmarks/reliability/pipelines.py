"""Stages whose `dvc` is killed, two `dvc repro` at once, and a reader that closes the pipe."""

from __future__ import annotations

import subprocess
import sys
import time
from random import Random

from benchmarks.reliability.victim import PATIENCE_S, PIPELINE, Attempt, Victim, count_running, with_suppressed


def orphan(victim: Victim, number: int) -> Attempt:
    """Kill `dvc` alone while its stage works, start it again at once, and compare the outputs."""
    random = Random(f"orphan {number}")
    stage = list(PIPELINE)[1 + number % (len(PIPELINE) - 1)]
    moment_s = random.uniform(1.0, victim.seconds(stage))
    first = victim.repro(stage)
    time.sleep(moment_s)
    with_suppressed(first.process.kill)
    second = victim.repro(stage).end()
    first.end()
    third = victim.repro(stage).end()
    lost = [f"after {second.last_line!r}: {third.complaint}"] if third.complaint else []
    if "Traceback" in second.text:
        lost.append("a traceback")
    return Attempt("`dvc` killed, its stage lives on", stage, f"after {moment_s:.2f} s", lost + victim.losses(stage))


def two_at_once(victim: Victim, number: int) -> Attempt:
    """Start `dvc repro` twice, and compare the outputs. One of the two may refuse, in one line."""
    random = Random(f"two {number}")
    stage = list(PIPELINE)[number % len(PIPELINE)]
    delay_s = random.uniform(0.0, victim.seconds(stage))
    first = victim.repro(stage)
    time.sleep(delay_s)
    ends = [running.end() for running in (victim.repro(stage), first)]
    again = victim.repro(stage).end()
    lost = [found for found in (again.complaint,) if found]
    lost += ["a traceback" for ended in ends if "Traceback" in ended.text]
    if all(ended.code for ended in ends):
        lost.append(f"both refused: {ends[0].last_line}")
    return Attempt("two `dvc repro` at once", stage, f"{delay_s:.2f} s apart", lost + victim.losses(stage))


def closed_pipe(victim: Victim, number: int) -> Attempt:
    """Read one line of a sweep's output and close the pipe."""
    folder = victim.root / f"multirun/closed-{number}"
    sweep = [sys.executable, "-m", "src.quantize", "-m", "calibrator=minmax,mse", f"hydra.sweep.dir={folder}"]
    process = subprocess.Popen(sweep, cwd=victim.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    process.wait(PATIENCE_S)
    table = folder / "children.csv"
    finished = table.read_text(encoding="utf-8").count("FINISHED") if table.exists() else 0
    lost = [] if finished == 2 else [f"{finished} of 2 jobs finished"]
    if running := count_running(victim.root / "mlflow.db"):
        lost.append(f"{running} runs are RUNNING")
    return Attempt("the reader of the output closes the pipe", "a sweep of quantize", "after one line", lost)
