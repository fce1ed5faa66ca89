"""Writes the parameters of a sweep's winner to params.yaml, and later checks the accuracy of the pipeline.

    python -m src.promote RUN              RUN: the id in MLflow of a sweep's or search's run, or of any single run
    dvc repro
    python -m src.promote RUN --check      did the pipeline reach the accuracy of the run?
    python -m src.promote --model NAME     of a model in MLflow's registry: the candidate becomes the champion

Of a search from a budget, the parameters of all stages are written. Only values that differ are; comments stay. If a
file in conf/ has the values of a group, `choices` gets the name of that file. If no file has them,
conf/<group>/promoted.yaml gets them and becomes the choice.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from itertools import dropwhile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from src import PROJECT
from src.config.composition import register
from src.config.groups import GROUPS
from src.config.stages import STAGES
from src.foundation.atomic import write_text
from src.foundation.errors import UserError
from src.workflow.names import is_cut
from src.workflow.registry import promote_version
from src.workflow.store import RecordedRun, recorded_run
from src.workflow.tracking import flat_params

PARAMS = "params.yaml"
LOCK = "dvc.lock"
PROMOTED = "promoted"
"""The name of the file of a group that has the values of a winner."""

SEARCH = "search"
"""The command whose runs have the settings of several stages."""

RESOURCES = {"threads", "device", "workers", "cache", "cache_gib", "control", "register"}
"""Settings of the machine, and names. They are not promoted: a sweep sets `threads` only to share the cores."""


def promote(project: Path, run_id: str) -> str:
    """Write the run's parameters to params.yaml, and to conf/ the values of groups that no file there has.

    Returns:
        The change as a unified diff; empty if nothing changed.

    Raises:
        UserError: the run does not exist or has no winner, params.yaml has no key for one of its values, or a value is
            longer than MLflow records.
    """
    parts = _parts(recorded_run(project, run_id))
    after = (project / PARAMS).read_text(encoding="utf-8")
    params = YAML().load(after)
    files = {}
    for part in parts:
        changed = _differences(project, part)
        _expect_whole(part, changed)
        for group, values in _values_of_groups(params, part.stage, changed).items():
            files[f"conf/{group}/{PROMOTED}.yaml"] = _file_with(values, group, params["choices"][group], run_id)
            changed = {key: value for key, value in changed.items() if key not in values}
            changed[f"choices.{group}"] = PROMOTED
        _expect_keys(params, part, changed)
        after = _edited(after, part.stage, changed) if changed else after
    if side := _size_of_teacher(parts, params):
        after = _with_size_of_teacher(after, side)
    files[PARAMS] = after  # last: it names the others
    return "".join(_written(project / name, name, text) for name, text in files.items())


def _parts(found: RecordedRun) -> list[RecordedRun]:
    """Return the run of each stage whose parameters a run has: a search from a budget has those of several.

    Raises:
        UserError: a search has none.
    """
    if found.stage != SEARCH:
        return [found]
    params: dict[str, dict[str, str]] = {}
    for key, text in found.params.items():
        stage, _, name = key.partition(".")
        if stage in STAGES:
            params.setdefault(stage, {})[name] = text
    if not params:
        raise UserError(
            f"run {found.run_id}: it has no settings of the pipeline: name a search with a winner, or a candidate "
            "that was trained"
        )
    return [replace(found, stage=stage, params=params[stage]) for stage in STAGES if stage in params]


def _size_of_teacher(parts: Sequence[RecordedRun], params: Mapping[str, Any]) -> int | list[int] | None:
    """Return the size of the images that the teacher of a search was trained with, if params.yaml must name it.

    `common.imgsz` becomes that of the student. Without a value of its own the teacher would be trained with it, too.
    """
    sizes = {part.stage: part.params["imgsz"] for part in parts if "imgsz" in part.params}
    teacher, student = sizes.get("train_teacher"), sizes.get("distill")
    if teacher is None or teacher == student or "imgsz" in params["train_teacher"]:
        return None
    size: int | list[int] = json.loads(teacher)
    return size


def _with_size_of_teacher(text: str, size: int | list[int]) -> str:
    """Return params.yaml with `train_teacher.imgsz`."""
    yaml = _round_trip()
    params = yaml.load(text)
    params["train_teacher"].insert(0, "imgsz", size)
    params["train_teacher"].yaml_add_eol_comment("in place of common.imgsz", "imgsz", column=0)
    edited = StringIO()
    yaml.dump(params, edited)
    return edited.getvalue()


def _written(path: Path, name: str, text: str) -> str:
    """Write a file and return the change as a unified diff."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, text)
    return "".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), name, name, n=1))


def check(project: Path, run_id: str) -> tuple[float, float, float]:
    """Return val mAP50-95 of the run, its standard deviation over seeds, and val mAP50-95 of the pipeline.

    Raises:
        UserError: the run does not exist or has no value, its parameters differ from params.yaml, or the pipeline has
            not run with them.
    """
    found = recorded_run(project, run_id)
    if found.value is None:
        raise UserError(f"run {run_id}: expected a metric val/map50_95 or best, found none: name a run that finished")
    parts = _parts(found)
    changed = {key for part in parts for key in _differences(project, part)}
    if _size_of_teacher(parts, YAML(typ="safe").load((project / PARAMS).read_text(encoding="utf-8"))):
        changed.add("train_teacher.imgsz")
    if changed:
        raise UserError(
            f"run {run_id}: {PARAMS} has other values for {', '.join(sorted(changed))}: "
            "promote the run first, then `dvc repro`"
        )
    for part in parts:
        _expect_reproduced(project, part.stage)
    report = project / f"reports/{parts[-1].stage}.json"  # of a search: that of quantize
    try:
        reached = json.loads(report.read_text(encoding="utf-8"))["val"]["map50_95"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{report.name}: expected val.map50_95, found {error!r}: run `dvc repro`") from error
    return found.value, found.spread, float(reached)


def _expect_reproduced(project: Path, stage: str) -> None:
    """Check that the pipeline's last run of a stage used the values that params.yaml has now."""
    yaml = YAML(typ="safe")
    try:
        stages = yaml.load((project / LOCK).read_text(encoding="utf-8"))["stages"].values()
        used = next(each["params"][PARAMS] for each in stages if each["cmd"] == f"python -m src.{stage}")
    except (OSError, YAMLError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(f"{LOCK}: found no run of {stage}: run `dvc repro`") from error
    now = yaml.load((project / PARAMS).read_text(encoding="utf-8"))
    for key, value in used.items():
        found = now
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found != value:
            raise UserError(f"{LOCK}: {stage} last ran with other values of {key} than {PARAMS} has: run `dvc repro`")


def _differences(project: Path, found: RecordedRun) -> dict[str, Any]:
    """Return the run's parameters that differ from the pipeline's or that the pipeline lacks, by flat key.

    Another file for a group is one difference, `choices.<group>`.
    """
    if found.stage not in STAGES:
        raise UserError(f"run {found.run_id}: it is not a run of a stage: expected one of {', '.join(STAGES)}")
    if not found.params:
        raise UserError(f"run {found.run_id}: it has no parameters: a sweep needs a job that finished to have a winner")
    register(params_file=project / PARAMS)
    choices = _other_choices(found, YAML(typ="safe").load((project / PARAMS).read_text(encoding="utf-8")))
    flat = _composed(found.stage, [f"{group}={name}" for group, name in choices.items()])
    values = {
        key: _value(text)
        for key, text in found.params.items()
        if flat.get(key) != text and key not in RESOURCES and not key.startswith("choices.")
    }
    return {**{f"choices.{group}": name for group, name in choices.items()}, **values}


def _other_choices(found: RecordedRun, params: dict[str, Any]) -> dict[str, str]:
    """Return the groups for which the run used another file of conf/ than the pipeline, with the name of that file.

    It is the file that the run names. If the run changed single values of it, it is a file with exactly these values.
    """

    def of_group(group: str, flat: Mapping[str, str]) -> dict[str, str]:
        """Return the values of `flat` that the group's files contain: some, such as data.root, are in params.yaml."""
        return {
            k: v for k, v in flat.items() if k.startswith(f"{group}.") and not _section_and_key(params, found.stage, k)
        }

    choices = {}
    for group in GROUPS:
        named = found.params.get(f"choices.{group}")
        if named is None:  # the stage has no such group
            continue
        files = {path.stem for path in (PROJECT / "conf" / group).glob("*.yaml")}
        candidates = [name for name in (named, params["choices"][group], *sorted(files)) if name in files]
        values = of_group(group, found.params)
        fitting = (
            name for name in candidates if of_group(group, _composed(found.stage, [f"{group}={name}"])) == values
        )
        chosen = next(fitting, params["choices"][group])
        if chosen != params["choices"][group]:
            choices[group] = chosen
    return choices


def _composed(stage: str, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Return the parameters of a stage, as Hydra composes them, by flat key."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        values = OmegaConf.to_container(compose(stage, list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return flat_params({str(key): value for key, value in values.items()})


def _expect_whole(found: RecordedRun, changed: Mapping[str, Any]) -> None:
    """Check that MLflow has every value that differs as a whole. Equal values are recognised by their md5."""
    parts = sorted(key for key, value in changed.items() if is_cut(str(value)))
    if parts:
        raise UserError(
            f"run {found.run_id}: {', '.join(parts)}: the values differ from {PARAMS}, but are longer than MLflow "
            "records: copy them from the run's artifact config.yaml, then promote again"
        )


def _expect_keys(params: dict[str, Any], found: RecordedRun, changed: dict[str, Any]) -> None:
    """Check that params.yaml has a key for every value that differs."""
    missing = {k: value for k, value in sorted(changed.items()) if _section_and_key(params, found.stage, k) is None}
    listed = ", ".join(f"{key}={value}" for key, value in missing.items())
    if missing:
        raise UserError(
            f"run {found.run_id}: {listed}: expected keys of {found.stage} in {PARAMS}, found none: "
            "the run was made by other code: check out its commit, or sweep again"
        )


def _values_of_groups(params: dict[str, Any], stage: str, changed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the values that differ and belong to conf/, by group and flat key."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in changed.items():
        group = key.partition(".")[0]
        if group in GROUPS and _section_and_key(params, stage, key) is None:
            found.setdefault(group, {})[key] = value
    return found


def _file_with(values: Mapping[str, Any], group: str, base: str, run_id: str) -> str:
    """Return the text of a group's file with other values.

    Args:
        values: by flat key, such as `distillation.response`.
        group: of conf/.
        base: the file that has all other values.
        run_id: of the run with these values.
    """
    lines = (PROJECT / "conf" / group / f"{base}.yaml").read_text(encoding="utf-8").splitlines(True)
    body = "".join(dropwhile(lambda line: line.startswith("#"), lines))  # its first lines describe the other values
    yaml = _round_trip()
    content = yaml.load(body)
    for key, value in values.items():
        content[key.removeprefix(f"{group}.")] = value
    text = StringIO()
    yaml.dump(content, text)
    changed = ", ".join(sorted(key.removeprefix(f"{group}.") for key in values))
    return f"# {base}.yaml with {changed} of run {run_id}. `python -m src.promote` wrote this file.\n{text.getvalue()}"


def _section_and_key(params: dict[str, Any], stage: str, key: str) -> tuple[str, str] | None:
    """Return the section of params.yaml and the key in it for a flat key; None if params.yaml does not have it."""
    section, dot, name = key.partition(".")
    if dot:
        return (section, name) if section in ("data", "choices") and name in params[section] else None
    return next(((section, key) for section in (stage, "common") if key in params[section]), None)


def _edited(text: str, stage: str, changed: dict[str, Any]) -> str:
    """Return params.yaml with the changed values, each in the section that has its key."""
    yaml = _round_trip()
    params = yaml.load(text)
    for flat_key, value in changed.items():
        section_and_key = _section_and_key(params, stage, flat_key)
        assert section_and_key, flat_key
        section, key = section_and_key
        params[section][key] = value
    edited = StringIO()
    yaml.dump(params, edited)
    return edited.getvalue()


def _round_trip() -> YAML:
    """Return a reader and writer of YAML that keeps comments, quotes and lines."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _value(text: str) -> Any:
    """Return the value of a recorded parameter: strings are recorded unchanged, all other values as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _next_step(run_id: str) -> str:
    """Return the next command. `--check` is possible only for a run with a value on val."""
    found = recorded_run(PROJECT, run_id)
    has_value = found.value is not None
    if not found.complete:
        print("warning: some jobs of the sweep did not finish: its winner is the best of the others", file=sys.stderr)
    return "next: dvc repro" + (f" && python -m src.promote {run_id} --check" if has_value else "")


def main() -> None:
    """Parse the command line and promote or check."""
    parser = argparse.ArgumentParser(
        prog="python -m src.promote",
        description="Write the parameters of a sweep's winner to params.yaml, or make a model's version the champion.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("run", nargs="?", help="id in MLflow of a sweep's or search's run, or of any single run")
    what.add_argument(
        "--model",
        metavar="NAME[/VERSION]",
        help="a version in MLflow's registry, whose candidate is the default: give it the alias champion, if the gate "
        "passed for its bytes",
    )
    parser.add_argument(
        "--check", action="store_true", help="after `dvc repro`: did the pipeline reach the accuracy of the run?"
    )
    arguments = parser.parse_args()
    if arguments.model and arguments.check:
        parser.error("--check needs a run, not --model")
    try:
        if arguments.model:
            print(promote_version(PROJECT, arguments.model))
            return
        if not arguments.check:
            difference = promote(PROJECT, arguments.run)
            print(difference or f"{PARAMS} has these values already\n", end="")
            print(_next_step(arguments.run))
            return
        expected, spread, reached = check(PROJECT, arguments.run)
    except UserError as error:
        sys.exit(f"error: {error}")
    verdict = "reached" if reached >= expected - spread else "not reached"
    over = f" ± {spread:.6f} over seeds" if spread else ""
    print(f"{verdict}: val mAP50-95 {reached:.6f}, the run had {expected:.6f}{over}")
    sys.exit(verdict != "reached")


if __name__ == "__main__":
    main()
