"""The whole comparison of the working tree with a revision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.comparing.changes import Change
from src.comparing.conditions import other_conditions
from src.comparing.every_metric import changed_metrics
from src.comparing.gate import Gate, gate_of
from src.comparing.git import changed_files, commit_of
from src.comparing.headline import table
from src.comparing.origins import Origins, origins
from src.comparing.recorded import RecordedStage, opened, recorded_stages
from src.comparing.sides import LATENCY, Side, side_at, working_tree
from src.comparing.staleness import Staleness, staleness_of, with_comments_told
from src.foundation.errors import UserError

PICTURES = (".png", ".jpg")

TIMING_STAGE = "eval-int8"
"""The stage whose code measures latencies."""


@dataclass(frozen=True)
class Comparison:
    """The working tree against a revision.

    Attributes:
        revision: as the reader named it.
        gate: of the working tree.
        staleness: of the working tree.
        stages: the number of stages in the working tree.
        stale_before: the stages that were stale at the revision, too.
        table: the metrics that decide.
        other_conditions: why latencies are not compared; empty: they are.
        origins: what differs besides results.
        metrics: every metric that changed.
        pictures: paths of the pictures in reports/ that changed.
        notes: what could not be read at the revision.
    """

    revision: str
    gate: Gate
    staleness: Staleness
    stages: int
    stale_before: frozenset[str]
    table: list[Change]
    other_conditions: list[str]
    origins: Origins
    metrics: list[Change]
    pictures: list[str]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for JSON."""
        differs = asdict(self.origins)
        same_files = sorted(differs.pop("same_files"))
        return {
            "revision": self.revision,
            "gate": {
                "passed": self.gate.passed,
                "drop": self.gate.drop,
                "max_drop": self.gate.max_drop,
                "failed": [finding.facts for finding in self.gate.failed or ()],
                "missing": self.gate.missing,
                "objections": list(self.gate.objections),
                "proves_nothing": self.gate.proves_nothing,
            },
            "stale": [{**asdict(one), "stale_before": one.stage in self.stale_before} for one in self.staleness.stages],
            "unchecked": list(self.staleness.unchecked),
            "table": [_shown(change) for change in self.table],
            "latencies_not_compared": self.other_conditions,
            "differs": differs,
            "same_files": same_files,
            "metrics": [_shown(change) for change in self.metrics],
            "pictures": self.pictures,
            "notes": self.notes,
        }


def compare(project: Path, revision: str) -> Comparison:
    """Compare the working tree with a revision. Neither data nor models are needed.

    Args:
        project: the root of a checkout.
        revision: such as `main`.

    Raises:
        UserError: the revision does not exist, or files of the working tree cannot be read: a line per file.
    """
    commit = commit_of(project, revision)
    before, now = side_at(project, commit, revision), working_tree(project)
    notes = [f"{revision}: {fault}" for fault in before.faults]
    staleness, recorded_now = _pipeline_now(project, now.faults)
    stale_before: frozenset[str] = frozenset()
    recorded_before: dict[str, RecordedStage] | None = None
    try:
        stale_before, recorded_before = _pipeline_at(project, commit)
    except UserError as error:
        notes.append(f"{revision}: {error}")
    found = origins(before, now, recorded_before, recorded_now)
    conditions = _other_conditions(before, now)
    timed_alike = frozenset() if TIMING_STAGE in found.code else found.same_files
    return Comparison(
        revision=revision,
        gate=gate_of(now),
        staleness=staleness,
        stages=len(recorded_now),
        stale_before=stale_before,
        table=table(before, now, timed_alike, latencies_compare=not conditions),
        other_conditions=conditions,
        origins=found,
        metrics=changed_metrics(before, now),
        pictures=_pictures(project, changed_files(project, commit, "reports")),
        notes=notes,
    )


def _pipeline_now(project: Path, faults: list[str]) -> tuple[Staleness, dict[str, RecordedStage]]:
    """Return the stale stages of the working tree, and what dvc.lock records there.

    Raises:
        UserError: DVC cannot read the pipeline, or there are `faults` of other files: all of them.
    """
    try:
        with opened(project) as repo:
            found = with_comments_told(staleness_of(repo), project, repo), recorded_stages(repo)
    except UserError as error:
        raise UserError("\n".join([*faults, str(error)])) from error
    if faults:
        raise UserError("\n".join(faults))
    return found


def _pipeline_at(project: Path, commit: str) -> tuple[frozenset[str], dict[str, RecordedStage]]:
    """Return the names of the stages that are stale in a commit, and what dvc.lock records there."""
    with opened(project) as repo, repo.switch(commit):
        return frozenset(one.stage for one in staleness_of(repo).stages), recorded_stages(repo)


def _other_conditions(before: Side, now: Side) -> list[str]:
    """Return why the latencies of the table, which are in onnxruntime, are not compared."""
    if not any(LATENCY in side.reports for side in (before, now)):
        return []
    return other_conditions(before, now, "onnxruntime")


def _pictures(project: Path, paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path.endswith(PICTURES) and (project / path).is_file()]


def _shown(change: Change) -> dict[str, Any]:
    return {**asdict(change), "difference": change.difference}
