"""Inject faults into a small project and write the losses.

    make torture

In a clone of the last commit, with small data and short trainings: every stage is killed at random moments and started
again, `dvc` is killed alone, two run at once, a reader closes the pipe, many processes share a fresh store, a tracking
server fails, and disks are full. Every attempt has its own seed and is kept in .cache/benchmarks, so an interrupted run
goes on. Writes reports/benchmarks/reliability.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from tqdm import tqdm

from benchmarks.photographs import kept_folder
from benchmarks.reliability.full_disk import PLACES, full_disk, possible
from benchmarks.reliability.kills import kill
from benchmarks.reliability.pipelines import closed_pipe, orphan, two_at_once
from benchmarks.reliability.stores import FAULTS, many_processes, server
from benchmarks.reliability.victim import PIPELINE, Attempt, Victim
from src import PROJECT
from src.config.stages import STAGES
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_json, write_text

PAGE = PROJECT / "reports/benchmarks/reliability.md"


def main() -> None:
    """Run the attempts that are missing and write the page."""
    parser = argparse.ArgumentParser(description="Inject faults, and write the losses.")
    parser.add_argument("--kills", type=int, default=100, help="number of stages to kill (100)")
    parser.add_argument("--rounds", type=int, default=1, help="how often any other fault is injected per place (1)")
    arguments = parser.parse_args()
    kept = kept_folder("reliability", STAGES)
    victim = Victim.made(kept / "project")
    plan = planned(arguments.kills, arguments.rounds)
    attempts = []
    for inject, number in tqdm(plan, desc="faults"):
        result = kept / f"{inject.__name__}-{number}.json"
        if not result.exists():
            write_json(result, asdict(inject(victim, number)))
        attempts.append(Attempt(**json.loads(result.read_text(encoding="utf-8"))))
    write_text(PAGE, page(attempts))


def planned(kills: int, rounds: int) -> list[tuple[Callable[[Victim, int], Attempt], int]]:
    """Return what to inject, with the number of each attempt.

    >>> from collections import Counter
    >>> Counter(inject.__name__ for inject, _ in planned(kills=100, rounds=2))["kill"]
    100
    """
    counts: dict[Callable[[Victim, int], Attempt], int] = {
        kill: kills,
        orphan: rounds * (len(PIPELINE) - 1),
        two_at_once: rounds * len(PIPELINE),
        closed_pipe: rounds,
        many_processes: 1,
        server: rounds * len(FAULTS),
        full_disk: rounds * len(PLACES) if possible() else 0,
    }
    return [(inject, number) for inject, count in counts.items() for number in range(count)]


def page(attempts: Sequence[Attempt]) -> str:
    """Return the page: a row for each fault and place, then everything that was lost."""
    machine = describe_machine()
    rows: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in attempts:
        rows.setdefault((attempt.fault, attempt.where), []).append(attempt)
    lost = [attempt for attempt in attempts if attempt.lost]
    lines = [
        "# Losses after faults",
        "",
        f"A small project: 32 images of 64 px, trainings of 3 epochs. {machine['cpu']}, {machine['cores']} processors.",
        "",
        "`make torture`",
        "",
        f"{len(attempts)} faults, {len(lost)} with a loss. After each fault the stage is started again. Nothing is "
        "lost if its outputs then have the same bytes as without the fault, no partial file is left, no run stays "
        "RUNNING, no traceback is shown, and a stage whose record is incomplete says so.",
        "",
        "| fault | where | times | with a loss |",
        "| --- | --- | --- | --- |",
        *(
            f"| {fault} | {where} | {len(found)} | {sum(bool(each.lost) for each in found)} |"
            for (fault, where), found in rows.items()
        ),
    ]
    if not any(attempt.fault == "a full disk" for attempt in attempts):
        lines += ["", "Full disks were not tried: this machine allows no mount in a namespace."]
    if lost:
        lines += ["", "## Lost", ""]
        lines += [f"- {each.fault}, {each.where}, {each.how}: {'; '.join(each.lost)}" for each in lost]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
