"""Writes the comment for a pull request: the changes of params, metrics and pictures against another revision.

    python -m src.compare main                       prints it
    python -m src.compare main -o comment.md --image-base https://raw.example.org/owner/repository/commit

Needs git, but not the data: params, metrics and pictures are in git. DVC computes the differences.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from src import PROJECT
from src.evaluation.gate import gate_passes
from src.foundation.atomic import write_text
from src.foundation.errors import UserError
from src.reporting.escaping import code, plain

ACCURACY, LATENCY = "reports/eval_int8.json", "reports/latency.json"
BETTER_WHEN_HIGHER = {"map50_95", "map50", "precision", "recall", "integer_convolutions", "speedup"}
BETTER_WHEN_LOWER = {"p50_ms", "p95_ms", "size_mib", "gflops", "parameters", "int8_drop"}
FOLDED = {"per_class", "agreement", "prepare_labels", "before", "best_epoch", "machine"}
"""A metric with one of these words in its name goes to the folded table."""


@dataclass(frozen=True)
class Change:
    """A metric of a report, before and after; None on the side that does not have it."""

    report: str
    metric: str
    old: Any
    new: Any

    @property
    def words(self) -> list[str]:
        """The report and the parts of the metric's name."""
        return [self.report, *self.metric.split(".")]


def write_comment(project: Path, revision: str, image_base: str | None = None) -> str:
    """Return the comment as Markdown: the gate, changed params, metric deltas with arrows, changed pictures.

    Args:
        project: the root of a checkout.
        revision: the working tree is compared with it; such as `main`.
        image_base: base URL of the pictures, for comments on a code host; None: links relative to the project.

    Raises:
        UserError: the revision does not exist, or params or reports cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        params, metrics = pool.map(lambda kind: _diff(project, kind, revision), ("params", "metrics"))
    for report in metrics:
        _expect_readable(project / report)
    changes = [
        Change(Path(report).stem, metric, values.get("old"), values.get("new"))
        for report, metrics_of in sorted(metrics.items(), key=lambda item: _rank(item[0]))
        for metric, values in sorted(metrics_of.items())
        if _is_number(values.get("old")) or _is_number(values.get("new"))
    ]
    main = [change for change in changes if not _is_folded(change)]
    folded = [change for change in changes if _is_folded(change)]
    parts = [
        f"## INT8 detector: this change against {code(revision)}",
        _gate(project),
        "### Params",
        _params(params),
        "### Metrics",
        _table(main) if main else "No metric changed.",
        "The timings are of different runs, perhaps on different machines: compare speedups, not milliseconds."
        if any(change.report == "latency" for change in main)
        else "",
        _details("More metrics: per class, agreement, data", _table(folded)) if folded else "",
        "### Pictures",
        _pictures(project, revision, image_base),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _diff(project: Path, kind: str, revision: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the changed params or metrics that DVC finds: by file and name, the `old` and the `new` value."""
    command = [sys.executable, "-m", "dvc", kind, "diff", revision, "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().removeprefix("ERROR: ").splitlines()
        raise UserError(
            f"cannot compare with {revision}: {reason[0] if reason else 'DVC failed'}: name a branch, tag or commit of "
            "this repository"
        )
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(done.stdout)
    return found


def _expect_readable(report: Path) -> None:
    """Check a report if it exists: DVC ignores a file that it cannot read, as if it had been deleted."""
    try:
        json.loads(report.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UserError(f"{report}: expected a report in JSON, found {error!r}: run `dvc repro`") from error


def _gate(project: Path) -> str:
    report = project / ACCURACY
    if not report.is_file():
        return f"**Gate: unknown.** {ACCURACY} is not there: run `dvc repro`."
    try:
        drop = json.loads(report.read_text(encoding="utf-8"))["int8_drop"]["vs_fp32"]
        limit = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))["eval_int8"]["max_drop"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{ACCURACY} or params.yaml cannot be read ({error!r}): run `dvc repro`") from error
    verdict = "✅ **Gate passed.**" if gate_passes(drop, limit) else "❌ **Gate failed.**"
    moved = "loses" if drop > 0 else "gains"
    return (
        f"{verdict} INT8 {moved} {abs(drop):.4f} of mAP50-95 against ONNX FP32 on test; "
        f"`eval_int8.max_drop` allows a loss of {limit}."
    )


def _params(diff: Mapping[str, Any]) -> str:
    rows = [
        f"| {code(key)} | {_shown(values.get('old'))} | {_shown(values.get('new'))} |"
        for changed in diff.values()
        for key, values in sorted(changed.items())
    ]
    return "\n".join(["| param | before | now |", "|---|---|---|", *rows]) if rows else "No param changed."


def _table(changes: list[Change]) -> str:
    rows = [
        [plain(change.report), code(change.metric), _shown(change.old), _shown(change.new), _delta(change)]
        for change in changes
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["| report | metric | before | now | change |", "|---|---|---|---|---|", *lines])


def _delta(change: Change) -> str:
    if not _is_number(change.old):
        return "new"
    if not _is_number(change.new):
        return "gone"
    difference = change.new - change.old
    arrow = "▲" if difference > 0 else "▼"
    # The last word gives the direction, or the one before it (speedup.int8_vs_teacher), unless that is a class.
    last_words = set(change.words[-1:] if "per_class" in change.words else change.words[-2:])
    if last_words & BETTER_WHEN_LOWER:
        mark = " 🟢" if difference < 0 else " 🔴"
    elif last_words & BETTER_WHEN_HIGHER:
        mark = " 🟢" if difference > 0 else " 🔴"
    else:
        mark = ""
    return f"{arrow} {difference:+.4g}{mark}"


def _pictures(project: Path, revision: str, image_base: str | None) -> str:
    command = ["git", "diff", "-z", "--name-only", "--diff-filter=d", revision, "--", "reports"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, errors="surrogateescape", check=False)
    if done.returncode:
        raise UserError(f"git cannot compare with {revision}: {done.stderr.strip()}")
    names = [name for name in done.stdout.split("\0") if name.endswith((".png", ".jpg"))]
    if not names:
        return "No picture changed."
    links = {name: quote(name, errors="surrogateescape") for name in names}
    lines = [
        f"![{plain(name)}]({image_base.rstrip('/')}/{link})" if image_base else f"- [{plain(name)}]({link})"
        for name, link in links.items()
    ]
    return _details(f"Changed pictures: {len(names)}", "\n".join(lines))


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value) if _is_number(value) else code(str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_folded(change: Change) -> bool:
    return bool(FOLDED.intersection(change.words))


def _rank(report: str) -> tuple[int, str]:
    """Return the sort key of a report: accuracy on test comes first, then the stages, then timings."""
    return {ACCURACY: 0, LATENCY: 2}.get(report, 1), report


def main() -> None:
    """Read the command line and write the comment."""
    parser = argparse.ArgumentParser(prog="python -m src.compare", description="Write the comment for a pull request.")
    parser.add_argument("revision", help="the revision to compare with, such as main")
    parser.add_argument("-o", "--output", type=Path, help="write to this file instead of the screen")
    parser.add_argument("--image-base", help="base URL of this commit's files")
    arguments = parser.parse_args()
    try:
        comment = write_comment(PROJECT, arguments.revision, arguments.image_base)
    except UserError as error:
        sys.exit(f"error: {error}")
    if arguments.output:
        write_text(arguments.output, comment)
    else:
        print(comment, end="")


if __name__ == "__main__":
    main()
