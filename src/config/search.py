"""Settings of a search from a budget to a detector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from src.foundation.constraints import NotEmpty, Range


@dataclass(kw_only=True)
class Search:
    """The budget, the candidates and the trainings that they get.

    Attributes:
        budget_ms: largest median latency of the INT8 network; None: no limit.
        max_mib: largest size of its file; None: no limit.
        max_drop: largest loss of val mAP50-95 against the teacher; None: no limit.
        hours: no training starts afterwards; None: no limit.
        students: files of conf/student: architecture and initial weights.
        activation: in place of the student's own; None: its own.
        imgsz: px, sides of square inputs, or pairs [height, width].
        ratio: share of the channels that prune removes.
        target: the runtime that the INT8 graph suits.
        eta: one of so many networks goes on after a rung.
        first_epochs: least number of epochs of a rung.
    """

    budget_ms: Annotated[float | None, Range(above=0)]
    max_mib: Annotated[float | None, Range(above=0)]
    max_drop: Annotated[float | None, Range(least=0, most=1)]
    hours: Annotated[float | None, Range(above=0)]
    students: Annotated[list[str], NotEmpty()]
    activation: Annotated[list[str | None], NotEmpty()]
    imgsz: Annotated[list[Any], NotEmpty()]
    ratio: Annotated[list[float], NotEmpty()]
    target: Annotated[list[str], NotEmpty()]
    eta: Annotated[int, Range(least=2)]
    first_epochs: Annotated[int, Range(least=1)]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of each value that contradicts another one."""
        if self.budget_ms is None and self.max_mib is None:
            yield "budget_ms", "must be set, or max_mib: without a budget there is nothing to search for"
