"""A side of a comparison: the reports, settings and pinned versions of the working tree or of a commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from src.comparing.git import content, files_in

ACCURACY, LATENCY, LABELS = "reports/eval_int8.json", "reports/latency.json", "reports/prepare_labels.json"
PARAMS, PINS = "params.yaml", "constraints.txt"

_Read = Callable[[str], bytes | None]


@dataclass
class Side:
    """What one side has.

    Attributes:
        name: of the revision, as the reader wrote it.
        reports: the content of each report, by path such as reports/latency.json.
        params: the content of params.yaml.
        pins: the pinned version of each package.
        faults: a line per file that cannot be read. Such a file counts as missing.
    """

    name: str
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def metric(self, report: str, path: str) -> float | None:
        """Return a number of a report by its dotted path; None if it is not there, or no number."""
        found = value_at(self.reports.get(report), path)
        return found if is_number(found) else None


def working_tree(project: Path) -> Side:
    """Return the side that the working tree is."""

    def read(path: str) -> bytes | None:
        file = project / path
        return file.read_bytes() if file.is_file() else None

    return _side("now", read, (f"reports/{file.name}" for file in (project / "reports").glob("*.json")))


def side_at(project: Path, commit: str, revision: str) -> Side:
    """Return the side that a commit is; `revision` is the name that the reader gave it."""
    reports = (path for path in files_in(project, commit, "reports") if path.endswith(".json"))
    return _side(revision, lambda path: content(project, commit, path), reports)


def value_at(report: Any, path: str) -> Any:
    """Return the value at a dotted path of nested mappings; None if there is none."""
    for part in path.split("."):
        report = report.get(part) if isinstance(report, Mapping) else None
    return report


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted path.

    >>> flat({"distill": {"T": 2, "seed": 0}})
    {'distill.T': 2, 'distill.seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def is_number(value: Any) -> bool:
    """Return whether a value is a number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _side(name: str, read: _Read, reports: Iterable[str]) -> Side:
    side = Side(name)
    for path in sorted(reports):
        report = _parsed(side, path, "a report in JSON", read, lambda raw: json.loads(raw, **_STRICT))
        if report is not None:
            side.reports[path] = report
    side.params = _parsed(side, PARAMS, "settings in YAML", read, yaml.safe_load) or {}
    side.pins = _parsed(side, PINS, "pinned versions", read, _pins) or {}
    return side


def _parsed(side: Side, path: str, expected: str, read: _Read, parse: Callable[[bytes], Any]) -> dict[str, Any] | None:
    """Return the mapping that a file holds; None if it is missing or, with a fault, cannot be read."""
    try:
        raw = read(path)
        if raw is None:
            return None
        found = parse(raw)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        side.faults.append(f"{path}: expected {expected}, found none ({reason})")
        return None
    if not isinstance(found, dict):
        side.faults.append(f"{path}: expected {expected} with named values, found {type(found).__name__}")
        return None
    return found


def _not_in_json(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


_STRICT: dict[str, Any] = {"parse_constant": _not_in_json}


def _pins(raw: bytes) -> dict[str, str]:
    lines = (line.partition("#")[0].strip().partition("==") for line in raw.decode("utf-8").splitlines())
    return {package: version for package, equals, version in lines if equals}
