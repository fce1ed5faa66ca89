"""Writes the comment for a pull request: what this side changes against another revision, and what can be believed.

    python -m src.compare main                       prints it
    python -m src.compare main -o comment.md --image-base https://raw.example.org/owner/repository/commit
    python -m src.compare main --fail-on stale,gate  exit code 1 if a stage is stale or the gate does not pass
    python -m src.compare main --json                the same and more, for programs
    python -m src.compare main --mlflow RUN          also adds it to the artifacts of eval-int8's run

Needs git, but not the data: reports, params and digests are in git. DVC tells which stages are stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from src import PROJECT
from src.comparing.comparison import Comparison, compare
from src.comparing.page import write_page
from src.foundation.atomic import write_text
from src.foundation.errors import UserError
from src.reporting.verdict_words import failure
from src.workflow.streams import outlive_readers

STALE, GATE = "stale", "gate"
ARTIFACT = "report/comparison.md"
"""Beside the report.md of eval-int8."""


def failures(comparison: Comparison, fail_on: frozenset[str]) -> list[str]:
    """Return a line for each of `fail_on`, "stale" and "gate", that makes a check fail."""
    found = []
    stale = [one.stage for one in comparison.staleness.stages]
    if STALE in fail_on and stale:
        found.append(f"{STALE}: {', '.join(stale)}: run `dvc repro` and commit dvc.lock and reports/")
    if GATE in fail_on and not comparison.gate.passed:
        found.append(f"{GATE}: {failure(comparison.gate.verdict) or comparison.gate.missing}")
    return found


def _conditions(text: str) -> frozenset[str]:
    found = frozenset(text.split(","))
    if not found <= {STALE, GATE}:
        raise argparse.ArgumentTypeError(f"expected {STALE}, {GATE} or {STALE},{GATE}, got {text}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m src.compare", description="Write the comment for a pull request.")
    parser.add_argument("revision", help="the revision to compare with, such as main")
    parser.add_argument("-o", "--output", type=Path, help="write to this file instead of the screen")
    parser.add_argument("--image-base", help="base URL of this commit's files")
    parser.add_argument("--json", action="store_true", help="write JSON instead of Markdown")
    parser.add_argument(
        "--fail-on", type=_conditions, default=frozenset(), metavar="stale,gate", help="what makes the exit code 1"
    )
    parser.add_argument("--mlflow", metavar="RUN", help=f"also add the page to this run of eval-int8, as {ARTIFACT}")
    return parser


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        sys.exit(f"error: {path}: cannot be written ({error.strerror}): name another file")


def main() -> None:
    """Read the command line, compare, and write."""
    arguments = _parser().parse_args()
    try:
        comparison = compare(PROJECT, arguments.revision)
        page = write_page(comparison, arguments.image_base)
        if arguments.mlflow:
            from src.workflow.store import attach  # here: the workflow of the code host installs DVC alone

            attach(PROJECT, arguments.mlflow, "eval_int8", page, ARTIFACT)
    except UserError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))
    text = json.dumps(comparison.as_json(), indent=2, allow_nan=False) + "\n" if arguments.json else page
    if arguments.output:
        _write(arguments.output, text)
    else:
        print(text, end="")
    if failed := failures(comparison, arguments.fail_on):
        sys.exit("\n".join(f"failed: {line}" for line in failed))


if __name__ == "__main__":
    outlive_readers()
    main()
