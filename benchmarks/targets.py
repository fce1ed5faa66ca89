"""Every target of `src.deploy` with every family of students: loss, size and time of each file, or why there is none.

    make bench-targets
    make bench-targets DATA=bccd BCCD=path/to/BCCD

Each student is trained in a clone of the last commit, from scratch, with labels alone, and not pruned: the networks
differ in their operators, which decide what a target makes of them. `src.deploy` then makes, reads back and measures
all files. What was made is kept in .cache/benchmarks, so an interrupted benchmark goes on. Writes
reports/benchmarks/targets.md, or targets-bccd.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from benchmarks.photographs import bccd_folder, cloned, kept_folder, make, run_stage
from src import PROJECT
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_text
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, PREPARED, PRUNED, STUDENT
from src.targets import NAMES, target_of

STAGES = ("prepare_labels", "distill", "calibrate", "deploy")
STUDENTS = ("yolov8n", "yolov8n_relu", "yolo11n", "yolo26n")
IN_INTEGERS, GOAL_POINTS = "integer", 0.5
"""What is asked of the target without a float operator: at most so many points of mAP50-95 below FP32."""


@dataclass(frozen=True)
class Ground:
    """The data and the budget of the trainings.

    Attributes:
        name: of the data.
        settings: of params.yaml, by section.
        epochs: of each training.
    """

    name: str
    settings: Mapping[str, Mapping[str, Any]]
    epochs: int


@dataclass(frozen=True)
class Column:
    """The files of a student.

    Attributes:
        student: a file of conf/student.
        fp32: the figures of the network in float, as src.deploy reports them.
        targets: the same of each target.
        busy: whether the machine was busy, so that times cannot be compared.
    """

    student: str
    fp32: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, Any]]
    busy: bool


def main() -> None:
    """Train and make what is missing, and write the page."""
    parser = argparse.ArgumentParser(description="Every target of src.deploy with every family of students.")
    parser.add_argument("--data", choices=("digits", "bccd"), default="digits")
    parser.add_argument("--bccd", type=bccd_folder, help="the folder that holds BCCD's Annotations and JPEGImages")
    parser.add_argument("--epochs", type=int, help="of each training; without it 12 on the digits, 40 on BCCD")
    parser.add_argument("--students", nargs="+", default=STUDENTS, help="files of conf/student")
    parser.add_argument("--targets", nargs="+", choices=NAMES, default=NAMES)
    arguments = parser.parse_args()
    if arguments.data == "bccd" and arguments.bccd is None:
        parser.error("--data bccd needs --bccd with the folder of BCCD")
    ground = _ground(arguments.data, arguments.bccd, arguments.epochs)
    there = [name for name in arguments.students if (PROJECT / f"conf/student/{name}.yaml").exists()]
    absent = {name: "conf/student has no such file" for name in arguments.students if name not in there}
    lacking = {name: f"not installed: {lack}" for name in arguments.targets if (lack := target_of(name).lacking())}
    installed = [name for name in arguments.targets if name not in lacking]
    kept = kept_folder(f"targets-{ground.name}", STAGES, ground)
    columns = [_column(kept / student, ground, student, installed) for student in tqdm(there, desc="students")]
    page_file = "targets.md" if ground.name == "digits" else f"targets-{ground.name}.md"
    write_text(PROJECT / "reports/benchmarks" / page_file, page(ground, columns, arguments.targets, lacking, absent))


def _ground(data: str, bccd: Path | None, epochs: int | None) -> Ground:
    if data == "digits":
        return Ground(data, {"choices": {"data": data}}, epochs or 12)
    settings = {
        "choices": {"data": data, "augmentation": "objects"},
        "data": {"root": str(bccd)},
        "common": {"imgsz": 320},
    }
    return Ground(data, settings, epochs or 40)


def _column(project: Path, ground: Ground, student: str, targets: Sequence[str]) -> Column:
    """Return a student's figures: trained, calibrated and deployed in a clone of its own, where it is not yet."""
    cloned(project)
    _set(project, {**ground.settings, "choices": {**ground.settings["choices"], "student": student}})
    make(project, [PREPARED], "prepare_labels")
    make(project, [STUDENT], "distill", "teaching=hard", "student.weights=null", f"epochs={ground.epochs}")
    if not (project / PRUNED).exists():
        shutil.copy(project / STUDENT, project / PRUNED)
    make(project, [FLOAT_ONNX, CALIBRATION], "calibrate")
    for environment in filter(None, (target_of(name).environment for name in targets)):
        if not (project / environment.folder).exists():
            (project / environment.folder).symlink_to(PROJECT / environment.folder)
    folder = project / "outputs" / "-".join(targets)
    result = folder / "reports/deploy.json"
    if not result.exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            run_stage(project, "deploy", f"target=[{','.join(targets)}]", "max_drop=1", f"hydra.run.dir={folder}")
        except subprocess.CalledProcessError:
            if not result.exists():  # where a target cannot be made, the command fails once all is written
                raise
    found = json.loads(result.read_text(encoding="utf-8"))
    return Column(student, found["fp32"], found["targets"], found["busy"])


def _set(project: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Set values in a clone's params.yaml, for all of its stages."""
    file = project / "params.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section, changed in settings.items():
        values[section].update(changed)
    write_text(file, yaml.safe_dump(values, sort_keys=False))


def page(
    ground: Ground,
    columns: Sequence[Column],
    targets: Sequence[str],
    lacking: Mapping[str, str],
    absent: Mapping[str, str],
) -> str:
    """Return the benchmark's page.

    Args:
        ground: the data and the budget.
        columns: the students.
        targets: the rows.
        lacking: why a target was not tried, by target.
        absent: why a student was not tried, by student.
    """
    machine = describe_machine()
    reasons = {
        **{f"`{name}`": reason for name, reason in (lacking | absent).items()},
        **{
            f"`{name}` of {column.student}": str(column.targets[name]["fault"]).removeprefix(f"{name}: ")
            for column in columns
            for name in targets
            if name in column.targets and column.targets[name]["fault"]
        },
    }
    foreign = {
        name: found["foreign"]
        for column in columns
        for name, found in column.targets.items()
        if found["foreign"] and "latency" in found
    }
    lines = [
        f"# Targets and families: {ground.name}",
        "",
        f"Students from scratch, {ground.epochs} epochs, labels alone, not pruned; one seed. A cell has: points of "
        "mAP50-95 on val below ONNX FP32; the share of the same detections; MiB; how many times as fast as ONNX FP32 "
        f"one forward pass is on one thread of {machine['cpu']} ({', '.join(machine['flags'])}).",
        "",
        f"`make bench-targets{'' if ground.name == 'digits' else f' DATA={ground.name} BCCD=...'}`",
        "",
        f"| target | {' | '.join(column.student for column in columns)} |",
        f"| --- |{' --- |' * len(columns)}",
        f"| ONNX FP32: mAP50-95, MiB, ms | {' | '.join(map(_in_float, columns))} |",
        *(f"| {name} | {' | '.join(_cell(column, name) for column in columns)} |" for name in targets),
        *_goal(columns),
        *_busy(columns),
        *_bullets("(\\*) The time here is not the time on the device:", {f"`{key}`": foreign[key] for key in foreign}),
        *_bullets("No file:", reasons),
    ]
    return "\n".join(lines) + "\n"


def _in_float(column: Column) -> str:
    found = column.fp32
    return f"{100 * found['val']['map50_95']:.2f}, {found['size_mib']:.2f}, {found['latency']['p50_ms']:.2f}"


def _cell(column: Column, name: str) -> str:
    found = column.targets.get(name, {})
    if "latency" not in found:
        return "none"
    share = found["agreement"]["share_matched"]
    speedup = column.fp32["latency"]["p50_ms"] / found["latency"]["p50_ms"]
    parts = [
        f"{100 * found['drop']:.2f}",
        "nothing found" if share is None else f"{100 * share:.1f} %",
        f"{found['size_mib']:.2f}",
        f"{speedup:.2f}{' (*)' if found['foreign'] else ''}",
    ]
    return ", ".join(parts)


def _goal(columns: Sequence[Column]) -> Iterator[str]:
    """Yield whether the file in integers loses as little as it should."""
    found = {column.student: column.targets.get(IN_INTEGERS, {}) for column in columns}
    drops = {student: 100 * one["drop"] for student, one in found.items() if "drop" in one}
    if drops:
        missed = [f"{student} ({drop:.2f})" for student, drop in drops.items() if drop > GOAL_POINTS]
        verdict = f"missed by {', '.join(missed)}" if missed else "reached by every student"
        yield from ("", f"The goal of `{IN_INTEGERS}`, at most {GOAL_POINTS} points below FP32: {verdict}.")


def _busy(columns: Sequence[Column]) -> Iterator[str]:
    if busy := [column.student for column in columns if column.busy]:
        yield from ("", f"The machine was busy during {', '.join(busy)}: do not compare these times.")


def _bullets(title: str, facts: Mapping[str, str]) -> Iterator[str]:
    if facts:
        yield from ("", title, "", *(f"- {name}: {fact}" for name, fact in facts.items()))


if __name__ == "__main__":
    main()
