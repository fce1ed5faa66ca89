"""What differs between two sides besides their results: settings, processor, versions, data, code.

Where a metric changed, one of these did it, or a seed: the comparison shows them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.comparing.conditions import processor, versions
from src.comparing.recorded import CODE, CONFIG, DATA, RecordedStage, kind_of
from src.comparing.sides import Side, flat

Pairs = dict[str, tuple[Any, Any]]
"""The value before and now, by name; None where a side has none."""


@dataclass(frozen=True)
class Origins:
    """What differs.

    Attributes:
        params: keys of params.yaml.
        processor: on which eval-int8 ran, under the name `processor`.
        versions: of the packages that eval-int8 recorded.
        pins: of constraints.txt.
        data: digests that dvc.lock records, by path.
        code: by stage, the files and folders of src/ whose digest in dvc.lock differs.
        configs: by stage, the same of conf/.
        same_files: results that have the same bytes on both sides.
        recorded: whether dvc.lock can be read on both sides; False: of data, code, configs and files nothing is known.
    """

    params: Pairs
    processor: Pairs
    versions: Pairs
    pins: Pairs
    data: Pairs
    code: Mapping[str, list[str]]
    configs: Mapping[str, list[str]]
    same_files: frozenset[str]
    recorded: bool

    @property
    def any_besides_params(self) -> bool:
        """Whether anything but params differs."""
        return bool(self.processor or self.versions or self.pins or self.data or self.code or self.configs)


_Stages = Mapping[str, RecordedStage]


def origins(before: Side, now: Side, recorded_before: _Stages | None, recorded_now: _Stages) -> Origins:
    """Return what differs between two sides, and between what dvc.lock records on them; None: it cannot be read."""
    recorded = recorded_before is not None
    if recorded_before is None:
        recorded_before = recorded_now = {}
    files = [_files(recorded) for recorded in (recorded_before, recorded_now)]
    return Origins(
        params=_pairs(flat(before.params), flat(now.params)),
        processor=_pairs({"processor": processor(before)}, {"processor": processor(now)}),
        versions=_pairs(versions(before), versions(now)),
        pins=_pairs(before.pins, now.pins),
        data=_pairs(*({path: md5 for path, md5 in side.items() if kind_of(path) == DATA} for side in files)),
        code=_by_stage(recorded_before, recorded_now, CODE),
        configs=_by_stage(recorded_before, recorded_now, CONFIG),
        same_files=frozenset(path for path, md5 in files[1].items() if files[0].get(path) == md5),
        recorded=recorded,
    )


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Pairs:
    return {
        key: (old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    }


def _files(recorded: _Stages) -> dict[str, str]:
    """Return the digests of all files and folders that stages read and wrote, by path."""
    return {
        path: md5 for stage in recorded.values() for side in (stage.reads, stage.writes) for path, md5 in side.items()
    }


def _by_stage(before: _Stages, now: _Stages, kind: str) -> dict[str, list[str]]:
    nothing = RecordedStage({}, {})
    found = {
        stage: [
            path
            for path in _pairs(before.get(stage, nothing).reads, now.get(stage, nothing).reads)
            if kind_of(path) == kind
        ]
        for stage in {**now, **before}
    }
    return {stage: paths for stage, paths in found.items() if paths}
