"""A stage is killed at a random moment, and started again."""

from __future__ import annotations

import signal
import time
from random import Random

from benchmarks.reliability.victim import PIPELINE, Attempt, Running, Victim

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def kill(victim: Victim, number: int) -> Attempt:
    """Kill `dvc repro` of a stage with all its processes, repeat it, and compare the outputs.

    Stages and signals take turns. The moment is uniform over the stage's duration.
    """
    random = Random(f"kill {number}")
    stage = list(PIPELINE)[number % len(PIPELINE)]
    sent = SIGNALS[number // len(PIPELINE) % len(SIGNALS)]
    moment_s = random.uniform(0.2, victim.seconds(stage))
    running = _working(victim, stage, moment_s)
    while not running.members():  # the stage was faster than undisturbed
        running.end()
        moment_s *= 0.7
        running = _working(victim, stage, moment_s)
    running.signal(sent)
    killed = running.end()
    again = victim.repro(stage).end()
    lost = [found for found in (killed.text.partition("still alive")[1], again.complaint) if found]
    return Attempt("killed", stage, f"{sent.name} after {moment_s:.2f} s", lost + victim.losses(stage))


def _working(victim: Victim, stage: str, moment_s: float) -> Running:
    running = victim.repro(stage)
    time.sleep(moment_s)
    return running
