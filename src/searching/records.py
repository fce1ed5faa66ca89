"""The run of each candidate in MLflow, below the run of the search; the stages' runs are below the candidate's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from src.searching.candidates import Candidate
from src.workflow.tracking import Run

STATE = "state"
"""The tag that tells how far a candidate came."""


@dataclass
class CandidateRuns:
    """Runs by candidate.

    Attributes:
        search: the run that they are below.
        project: the root of the checkout.
    """

    search: Run
    project: Path
    _open: dict[Candidate, Run] = field(default_factory=dict)

    def of(self, candidate: Candidate) -> Run:
        """Return the run of a candidate, begun when it is first asked for."""
        if candidate not in self._open:
            run = Run("search", self.project, self.search.run_id, str(candidate))
            run.params({**asdict(candidate.network), "target": candidate.target})
            self._open[candidate] = run
        return self._open[candidate]

    def end(
        self, candidate: Candidate, state: str, metrics: Mapping[str, Any], recipe: Mapping[str, Any] | None = None
    ) -> None:
        """Record how a candidate ended, and its recipe for `src.promote`."""
        run = self.of(candidate)
        run.metrics(metrics)
        run.params(recipe or {})
        run.tags({STATE: state})
        run.end("FINISHED")
        del self._open[candidate]

    def close(self) -> None:
        """Close the runs that have not ended."""
        for run in self._open.values():
            run.end("KILLED")


@contextmanager
def candidate_runs(search: Run, project: Path) -> Iterator[CandidateRuns]:
    """Yield the runs of candidates, and close those that are open when the block ends."""
    runs = CandidateRuns(search, project)
    try:
        yield runs
    finally:
        runs.close()
