"""The next step after an error: which file to edit, which stage to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from src import PROJECT
from src.config.groups import GROUPS
from src.config.stages import BY_HAND, PER_TARGET
from src.foundation.errors import OutdatedError, SettingError, UserError


def with_advice(error: UserError, stage: str) -> str:
    """Return the message of an error, with the next step.

    Args:
        error: what a stage, or something that it called, found wrong.
        stage: its name.
    """
    match error:
        case SettingError():
            section, file = _place_of(error.key, stage)
            return f"{section}{error}: edit {file}"
        case OutdatedError():
            return f"{error}: run `{' '.join(['dvc repro', *_writer_of(error.path)])}`"
        case _:
            return str(error)


def _place_of(key: str, stage: str) -> tuple[str, str]:
    """Return the section of params.yaml that a setting is in, as a prefix, and the file to edit.

    A command that is run by hand has no section: its own settings are in its file of conf/.
    """
    by_hand = f", or write {key}=... behind the command"
    if stage in BY_HAND and key in _yaml(f"conf/{stage}.yaml"):
        return "", f"conf/{stage}.yaml{by_hand}"
    params = _yaml("params.yaml")
    if stage in PER_TARGET and key in params.get(stage, {}):
        return f"{stage}.", f"params.yaml{by_hand}"
    group = key.partition(".")[0]
    if group in GROUPS and key != "data.root":
        choice = params.get("choices", {}).get(group, "")
        return f"{stage}.", f"conf/{group}/{choice}.yaml"
    if group == "data":
        return "", "params.yaml"
    section = "common" if key in params.get("common", {}) else stage
    return f"{section}.", "params.yaml"


def _writer_of(path: Path) -> list[str]:
    """Return the name of the pipeline's stage that writes a file; none if no stage does."""
    for name, stage in _yaml("dvc.yaml").get("stages", {}).items():
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]:
            out = next(iter(out)) if isinstance(out, dict) else out
            if path.as_posix().endswith(f"/{out}"):
                return [name]
    return []


def _yaml(name: str) -> dict[str, Any]:
    content = yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
