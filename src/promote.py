"""Makes a sweep's winner the pipeline's: writes its parameters into params.yaml, and later checks what came of it.

    python -m src.promote RUN              RUN: the id of a sweep's parent run in MLflow, or of any single run
    dvc repro
    python -m src.promote RUN --check      did the pipeline reach what the sweep promised?

Only what differs is written; comments stay. Where a group's values are those of a file in conf/, that file becomes the
choice; where they are no file's, the command says which one to open and changes nothing.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
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
from src.workflow.store import RecordedRun, recorded_run
from src.workflow.tracking import flat_params

PARAMS = "params.yaml"
LOCK = "dvc.lock"
RESOURCES = {"threads", "device", "workers", "cache", "cache_gib", "register"}
"""Settings of the machine, and names. A sweep that shares out the cores has not chosen them."""


def promote(project: Path, run_id: str) -> str:
    """Write the run's parameters into params.yaml, and return the difference as a unified diff; empty if there is none.

    Raises:
        UserError: there is no such run, it has no winner, or its values do not live in params.yaml.
    """
    found = recorded_run(project, run_id)
    changed = _differences(project, found)
    path = project / PARAMS
    before = path.read_text(encoding="utf-8")
    _expect_places(YAML().load(before), found, changed)
    after = _edited(before, found.stage, changed)
    write_text(path, after)
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), PARAMS, PARAMS, n=1)
    return "".join(lines)


def check(project: Path, run_id: str) -> tuple[float, float, float]:
    """Return val mAP50-95 as the run promised it, its spread over seeds, and what the pipeline reached.

    Raises:
        UserError: there is no such run, it has no value, its parameters are not the pipeline's, or the pipeline was
            not run with them.
    """
    found = recorded_run(project, run_id)
    if found.value is None:
        raise UserError(f"run {run_id}: it has no val/map50_95 and no best: name a run that finished")
    changed = _differences(project, found)
    if changed:
        raise UserError(
            f"run {run_id}: {PARAMS} has other values for {', '.join(sorted(changed))}: "
            "promote the run first, then `dvc repro`"
        )
    _expect_reproduced(project, found.stage)
    report = project / f"reports/{found.stage}.json"
    try:
        reached = json.loads(report.read_text(encoding="utf-8"))["val"]["map50_95"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{report.name}: expected val.map50_95, found {error!r}: run `dvc repro`") from error
    return found.value, found.spread, float(reached)


def _expect_reproduced(project: Path, stage: str) -> None:
    """Check that the pipeline's last run of a stage had the values that params.yaml has now."""
    yaml = YAML(typ="safe")
    try:
        stages = yaml.load((project / LOCK).read_text(encoding="utf-8"))["stages"].values()
        used = next(each["params"][PARAMS] for each in stages if each["cmd"] == f"python -m src.{stage}")
    except (OSError, YAMLError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(f"{LOCK}: it knows no run of {stage}: run `dvc repro`") from error
    now = yaml.load((project / PARAMS).read_text(encoding="utf-8"))
    for key, value in used.items():
        found = now
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found != value:
            raise UserError(f"{LOCK}: {stage} was last run with another {key} than {PARAMS} has: run `dvc repro`")


def _differences(project: Path, found: RecordedRun) -> dict[str, Any]:
    """Return the run's parameters that are not what the pipeline would use now, or that it lacks, by flat key.

    Another choice of a group is one difference, `choices.<group>`.
    """
    if found.stage not in STAGES:
        raise UserError(f"run {found.run_id}: it is no run of a stage: expected one of {', '.join(STAGES)}")
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
    """Return the groups for which the run has another file of conf/ than the pipeline, and the name of that file.

    It is the file that the run names or, if the run changed single values of it, another one with just these values.
    """

    def of_group(group: str, flat: Mapping[str, str]) -> dict[str, str]:
        """Return the values of `flat` that the group's files hold: some, such as data.root, are in params.yaml."""
        return {k: v for k, v in flat.items() if k.startswith(f"{group}.") and not _place(params, found.stage, k)}

    choices = {}
    for group in GROUPS:
        named = found.params.get(f"choices.{group}")
        if named is None:  # the stage has no such group
            continue
        files = {path.stem for path in (PROJECT / "conf" / group).glob("*.yaml")}
        candidates = [name for name in (named, params["choices"][group], *sorted(files)) if name in files]
        wanted = of_group(group, found.params)
        fitting = (
            name for name in candidates if of_group(group, _composed(found.stage, [f"{group}={name}"])) == wanted
        )
        chosen = next(fitting, params["choices"][group])
        if chosen != params["choices"][group]:
            choices[group] = chosen
    return choices


def _composed(stage: str, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Return the parameters that a stage would use, flat."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        values = OmegaConf.to_container(compose(stage, list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return flat_params({str(key): value for key, value in values.items()})


def _expect_places(params: dict[str, Any], found: RecordedRun, changed: dict[str, Any]) -> None:
    elsewhere = {key: value for key, value in sorted(changed.items()) if _place(params, found.stage, key) is None}
    groups = [group for group in GROUPS if any(key.startswith(f"{group}.") for key in elsewhere)]
    listed = ", ".join(f"{key}={value}" for key, value in elsewhere.items())
    if groups:
        steps = " and ".join(f"conf/{group}/{params['choices'][group]}.yaml" for group in groups)
        raise UserError(
            f"run {found.run_id}: {listed}: not of {PARAMS} but of conf/, where no file has these values: "
            f"edit {steps} or add a file and choose it, then promote again"
        )
    if elsewhere:
        raise UserError(
            f"run {found.run_id}: {listed}: expected keys of {found.stage} in {PARAMS}, found none: "
            "the run is of other code, so check out its commit or sweep again"
        )


def _place(params: dict[str, Any], stage: str, key: str) -> tuple[str, str] | None:
    """Return the section of params.yaml and the key in it that a flat key stands for; None if it is not there."""
    section, dot, name = key.partition(".")
    if dot:
        return (section, name) if section in ("data", "choices") and name in params[section] else None
    return next(((section, key) for section in (stage, "common") if key in params[section]), None)


def _edited(text: str, stage: str, changed: dict[str, Any]) -> str:
    """Return params.yaml with the values in the stage's section, or in `common` where they live there."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    params = yaml.load(text)
    for key, value in changed.items():
        place = _place(params, stage, key)
        assert place, key
        section, name = place
        params[section][name] = value
    edited = StringIO()
    yaml.dump(params, edited)
    return edited.getvalue()


def _value(text: str) -> Any:
    """Return a parameter as it was before it became text: everything but text is recorded as JSON writes it."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _next_step(run_id: str) -> str:
    """Return what to run next; only what has a value on val can be checked."""
    found = recorded_run(PROJECT, run_id)
    promised = found.value is not None
    if not found.complete:
        print("warning: not all jobs of the sweep finished: its winner is the best of those that did", file=sys.stderr)
    return "next: dvc repro" + (f" && python -m src.promote {run_id} --check" if promised else "")


def main() -> None:
    """Parse the command line and promote or check."""
    parser = argparse.ArgumentParser(prog="python -m src.promote", description="Make a sweep's winner the pipeline's.")
    parser.add_argument("run", help="id of a sweep's parent run in MLflow, or of any single run")
    parser.add_argument("--check", action="store_true", help="after `dvc repro`: was what the run promised reached?")
    arguments = parser.parse_args()
    try:
        if not arguments.check:
            difference = promote(PROJECT, arguments.run)
            print(difference or f"{PARAMS} has these values already\n", end="")
            print(_next_step(arguments.run))
            return
        promised, spread, reached = check(PROJECT, arguments.run)
    except UserError as error:
        sys.exit(f"error: {error}")
    verdict = "reached" if reached >= promised - spread else "not reached"
    over = f" ± {spread:.6f} over seeds" if spread else ""
    print(f"{verdict}: val mAP50-95 {reached:.6f}, promised {promised:.6f}{over}")
    sys.exit(verdict != "reached")


if __name__ == "__main__":
    main()
