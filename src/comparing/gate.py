"""The gates on INT8, and what else the report of eval-int8 holds against its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.comparing.sides import ACCURACY, LABELS, PARAMS, Side, is_number, value_at
from src.evaluation.gate import Gates
from src.evaluation.verdict import Finding, Verdict, Weight, failed_gates


@dataclass(frozen=True)
class Gate:
    """The gates of a side.

    Attributes:
        drop: of mAP50-95 of INT8 against ONNX FP32 on test; None if it is not known.
        max_drop: that is allowed; None if it is not known.
        failed: the gates that fail; None if they cannot be judged.
        missing: why they cannot be judged.
        objections: what the report holds against the run besides gates, by name.
        proves_nothing: whether one of them says that the run proves nothing.
    """

    drop: float | None
    max_drop: float | None
    failed: tuple[Finding, ...] | None
    missing: str
    objections: tuple[str, ...]
    proves_nothing: bool

    @property
    def passed(self) -> bool | None:
        """Whether all gates pass; None if they cannot be judged."""
        return None if self.failed is None else not self.failed

    @property
    def verdict(self) -> Verdict:
        """The failed gates."""
        return Verdict(list(self.failed or ()))


def gate_of(side: Side) -> Gate:
    """Return the gates of a side, from its reports and params.yaml."""
    limits = value_at(side.params, "eval_int8")
    drop, max_drop = side.metric(ACCURACY, "int8_drop.vs_fp32"), _limit(limits, "max_drop")
    failed, missing = None, ""
    classes = value_at(side.reports.get(LABELS), "classes")
    least_of_class = _limit(limits, "min_class_map50_95")
    if drop is None:
        missing = f"{ACCURACY} has no int8_drop.vs_fp32"
    elif max_drop is None:
        missing = f"{PARAMS} has no eval_int8.max_drop"
    elif least_of_class is not None and not isinstance(classes, Mapping):
        missing = f"{LABELS} has no classes"
    else:
        gates = Gates(max_drop, _limit(limits, "min_map50_95"), least_of_class)
        try:
            failed = tuple(failed_gates(side.reports[ACCURACY]["onnx_int8"], drop, list(classes or ()), gates))
        except (KeyError, TypeError, AttributeError):
            missing = f"{ACCURACY} lacks accuracies of onnx_int8"
    findings = _findings(side)
    return Gate(
        drop,
        max_drop,
        failed,
        missing,
        tuple(str(one["finding"]) for one in findings if one.get("weight") != Weight.FAILS),
        any(one.get("weight") == Weight.PROVES_NOTHING for one in findings),
    )


def _limit(limits: Any, key: str) -> float | None:
    found = value_at(limits, key)
    return found if is_number(found) else None


def _findings(side: Side) -> list[Mapping[str, Any]]:
    """Return what the report holds against its run; nothing in reports of older code."""
    found = value_at(side.reports.get(ACCURACY), "verdict.findings")
    return [one for one in found if isinstance(one, Mapping) and "finding" in one] if isinstance(found, list) else []
