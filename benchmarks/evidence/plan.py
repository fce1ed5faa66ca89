"""plan: what each run depends on, in a file per run: its settings, and digests of its code and libraries.

Every stage of dvc.yaml that computes has its file as a dependency, so `dvc status` tells which runs are stale. Files of
code are no dependencies themselves: a comment would make hours of training stale, and so would a setting of the product
that the protocol overrides.
"""

from __future__ import annotations

from benchmarks.evidence import EVIDENCE
from benchmarks.evidence.loading import load
from benchmarks.evidence.runs import runs
from benchmarks.evidence.settings import plan_of
from src.foundation.atomic import whole_folder, write_json
from src.workflow.command import guarded

PLAN = EVIDENCE / "plan"


def main() -> None:
    """Write the plan of every run."""
    protocol = load()
    plans = [plan_of(run, protocol) for run in runs(protocol)]
    with whole_folder(PLAN) as folder:
        for plan in plans:
            write_json(folder / f"{plan.run.name}.json", plan.content)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
