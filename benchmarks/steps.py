"""The time of a training step by threads and precision, of distilling, of a whole training, and of a sweep.

    make bench-steps BCCD=path/to/BCCD

Steps of several trainings on the same batches, interleaved in one process: ultralytics' own loss by threads and
precision, then this project's distillation without and with the cache (every answer known), and ultralytics'
`distill_model`. Then the parts of the default trainings, and six runs of T x alpha as sweeps with the cache, against
the same six one by one without. yolov8s teaches yolov8n on real photographs, after a few epochs of its own: an
untrained teacher would propose no boxes. `--against COMMIT` also compares a teacher's epoch with an earlier commit's.
Writes reports/benchmarks/steps.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from ultralytics.models.yolo.detect import DetectionTrainer

from benchmarks.parts import measure_parts, table
from benchmarks.photographs import bccd_folder, cloned, run_stage, taught_project
from src import PROJECT
from src.detector import runtime
from src.detector.checkpoint import load_detector
from src.detector.criterion import MakeCriterion
from src.detector.dataset import view_of
from src.detector.precision import dtype_for
from src.detector.trainer import ResumableTrainer, TrainerExtras, trainer_with
from src.distillation.cached_teacher import CachedTeacher
from src.distillation.distillation_loss import distillation_from
from src.distillation.objective import Objective
from src.distillation.teacher import FrozenTeacher
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_text
from src.foundation.processors import processors_for

PAGE = PROJECT / "reports/benchmarks/steps.md"
IMGSZ, BATCH = 320, 16
NETWORKS = (("yolov8s.yaml", 160, 16), ("yolov8n.yaml", 160, 16), ("yolov8s.yaml", 320, 8))
MANY_THREADS = 4
"""The default before `common.threads: auto`."""
BATCHES, ROUNDS = 4, 15
TEACHER_EPOCHS = 5
TEMPERATURES, ALPHAS, SWEPT_IMGSZ, EPOCHS = (1, 2, 4), (0.5, 0.7), 160, 15
EPOCHS_AGAINST, ROUNDS_AGAINST = 3, 3
OBJECTIVE = Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0})
PLAIN = "ultralytics' own loss"
ONE_BY_ONE = "one by one, without cache"


@dataclass(frozen=True)
class Found:
    """The measurements.

    Attributes:
        precisions: seconds of each step by network and setting.
        steps: seconds of each step of distillation and of its controls.
        parts: seconds of each part of a training, by training.
        runs: seconds of six runs by how they were started, without start-up.
        epochs: seconds of an epoch of the teacher by commit, the earlier one first.
    """

    precisions: Mapping[tuple[str, str], list[float]]
    steps: Mapping[str, list[float]]
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    runs: Mapping[str, float] = field(default_factory=dict)
    epochs: Mapping[str, list[float]] = field(default_factory=dict)


def main() -> None:
    """Prepare BCCD in a clone of the last commit, measure there, and write the page."""
    parser = argparse.ArgumentParser(description="What distilling costs: a training step, a training, and a sweep.")
    parser.add_argument("bccd", type=bccd_folder, help="the folder that holds BCCD's Annotations and JPEGImages")
    parser.add_argument("--steps-only", action="store_true", help="without the sweeps, which take most of the time")
    parser.add_argument("--against", metavar="COMMIT", help="compare a teacher's epoch with this earlier commit's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="steps-") as scratch:
        clone = Path(scratch) / "project"
        taught_project(clone, arguments.bccd, TEACHER_EPOCHS, [f"imgsz={IMGSZ}", "augmentation=objects"])
        found = Found(
            measure_precisions(clone),
            measure_steps(clone),
            measure_parts(Path(scratch) / "digits"),
            {} if arguments.steps_only else measure_sweep(clone),
            measure_epochs(clone, arguments.against) if arguments.against else {},
        )
        write_text(PAGE, page(found))


def measure_precisions(project: Path) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of each step of ultralytics' own loss by network and setting, interleaved."""
    processors = processors_for("auto")
    settings = {
        f"float32, {MANY_THREADS} threads": (torch.float32, MANY_THREADS),
        f"float32, {processors} threads": (torch.float32, processors),
        f"bfloat16, channels_last, {processors} threads": (torch.bfloat16, processors),
    }
    found = {}
    for architecture, imgsz, batch_size in NETWORKS:
        with _training(project, architecture, imgsz, batch_size) as arguments:
            trainers = {name: _ready(_ours(arguments, dtype=dtype)) for name, (dtype, _) in settings.items()}
            batches = _batches(next(iter(trainers.values())))
            threads = {name: count for name, (_, count) in settings.items()}
            for name, seconds in _interleaved(trainers, batches, threads).items():
                found[f"{architecture.removesuffix('.yaml')}, {imgsz} px, batch {batch_size}", name] = seconds
    return found


def measure_steps(project: Path) -> dict[str, list[float]]:
    """Return the seconds of each step of distillation and of its controls, interleaved."""
    teacher_file, dtype = project / "models/teacher.pt", dtype_for("auto", "cpu")
    threads = processors_for("auto")
    runtime.settle("cpu", threads)
    with _training(project, "yolov8n.yaml", IMGSZ, BATCH) as arguments:
        teacher = FrozenTeacher(load_detector(teacher_file), dtype)
        cache = Path(arguments["project"]) / "cache"
        cached = CachedTeacher(teacher, "steps", cache, limit_bytes=2**33, features=False)
        trainers: dict[str, DetectionTrainer] = {
            PLAIN: _ours(arguments, dtype=dtype),
            "ours": _ours(arguments, distillation_from(teacher, OBJECTIVE), dtype=dtype),
            "ours, answers cached": _ours(arguments, distillation_from(cached, OBJECTIVE), dtype=dtype),
            "plain ultralytics, float32": DetectionTrainer(overrides=dict(arguments)),
            "ultralytics' `distill_model`, float32": DetectionTrainer(
                overrides={**arguments, "distill_model": str(teacher_file)}
            ),
        }
        for trainer in trainers.values():
            _ready(trainer)
        batches = _batches(trainers[PLAIN])
        for batch in batches:
            cached(trainers[PLAIN].preprocess_batch(dict(batch))["img"])
        seconds = _interleaved(trainers, batches, dict.fromkeys(trainers, threads))
        assert cached.misses == BATCHES, "every timed answer came from the cache"
    return seconds


@contextmanager
def _training(project: Path, architecture: str, imgsz: int, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield the arguments of a trainer on the prepared data of a project."""
    with tempfile.TemporaryDirectory(prefix="steps-") as scratch, view_of(project / "data/prepared") as data:
        yield {
            "task": "detect",
            "model": architecture,
            "data": str(data),
            "imgsz": imgsz,
            "batch": batch_size,
            "nbs": batch_size,
            "optimizer": "AdamW",
            "epochs": 10,
            "device": "cpu",
            "workers": 0,
            "amp": False,
            "plots": False,
            "pretrained": False,
            "project": scratch,
            "name": "trainer",
        }


def _ours(
    arguments: dict[str, Any], make_criterion: MakeCriterion | None = None, *, dtype: torch.dtype
) -> ResumableTrainer:
    extras = TrainerExtras(Path(arguments["project"]) / "state.pt", make_criterion, dtype=dtype)
    return trainer_with(extras)(overrides=dict(arguments))


def _ready(trainer: DetectionTrainer) -> DetectionTrainer:
    """Let a trainer do all that comes before the first step."""
    trainer._setup_train()
    trainer._model_train()
    return trainer


def _batches(trainer: DetectionTrainer) -> list[dict[str, Any]]:
    loader = iter(trainer.train_loader)
    return [next(loader) for _ in range(BATCHES)]


def _interleaved(
    trainers: Mapping[str, DetectionTrainer], batches: Sequence[dict[str, Any]], threads: Mapping[str, int]
) -> dict[str, list[float]]:
    """Return the seconds of each step, every trainer in turn on every batch."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in tqdm(range(ROUNDS + 1), desc="steps"):
        for batch in batches:
            for name, trainer in trainers.items():
                torch.set_num_threads(threads[name])
                scaled = trainer.preprocess_batch(dict(batch))
                begun = time.perf_counter()
                _step(trainer, scaled)
                if turn:  # the first one warms up
                    seconds[name].append(time.perf_counter() - begun)
    return seconds


def _step(trainer: DetectionTrainer, batch: dict[str, Any]) -> None:
    """Do what ultralytics' loop does with a batch that is loaded and scaled."""
    loss, _ = trainer.model(batch)
    loss.sum().backward()
    trainer.optimizer_step()


def measure_sweep(project: Path) -> dict[str, float]:
    """Return the seconds of six single runs without cache, and of sweeps over the same that begin with an empty one.

    Start-up is left out: the time of the same runs of one epoch is subtracted.
    """
    return {
        name: _seconds(project, name, EPOCHS) - _seconds(project, name, 1)
        for name in (ONE_BY_ONE, "a sweep", "a sweep, two jobs at a time")
    }


def _seconds(project: Path, name: str, epochs: int) -> float:
    """Return the seconds of six runs of so many epochs."""
    budget = [f"epochs={epochs}", f"imgsz={SWEPT_IMGSZ}", "augmentation=objects", f"batch={BATCH}"]
    swept = ["-m", *budget, f"T={','.join(map(str, TEMPERATURES))}", f"alpha={','.join(map(str, ALPHAS))}"]
    calls = {
        ONE_BY_ONE: [
            [*budget, f"T={temperature}", f"alpha={alpha}", "cache=never"]
            for temperature in TEMPERATURES
            for alpha in ALPHAS
        ],
        "a sweep": [swept],
        "a sweep, two jobs at a time": [[*swept, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]],
    }
    shutil.rmtree(project / ".cache", ignore_errors=True)
    begun = time.perf_counter()
    for arguments in calls[name]:
        run_stage(project, "distill", *arguments)
    return time.perf_counter() - begun


def measure_epochs(project: Path, earlier: str) -> dict[str, list[float]]:
    """Return the seconds of an epoch of the teacher at an earlier commit and now, in turns, without start-up."""
    other = cloned(project.with_name("earlier"), earlier)
    shutil.copytree(project / "data/prepared", other / "data/prepared")
    projects = {earlier: other, "now": project}
    found: dict[str, list[float]] = {name: [] for name in projects}
    for _ in range(ROUNDS_AGAINST):
        for name, folder in projects.items():
            seconds = []
            for epochs in (1, 1 + EPOCHS_AGAINST):
                begun = time.perf_counter()
                run_stage(folder, "train_teacher", f"epochs={epochs}", f"imgsz={IMGSZ}", "augmentation=objects")
                seconds.append(time.perf_counter() - begun)
            found[name].append((seconds[1] - seconds[0]) / EPOCHS_AGAINST)
    return found


def page(found: Found) -> str:
    """Return the benchmark's page."""
    machine = describe_machine()
    lines = [
        "# The cost of a training step",
        "",
        f"BCCD. {machine['cpu']} ({', '.join(machine['flags'])}), {machine['cores']} processors. "
        f"{', '.join(f'{name} {version}' for name, version in machine['versions'].items())}.",
        "",
        "`make bench-steps BCCD=...`",
        "",
        f"A step is forward, loss, backward and optimizer; the batch is loaded. Medians of {ROUNDS * BATCHES}, "
        "interleaved in one process.",
        "",
        "## Threads and precision",
        "",
        "ultralytics' own loss, AdamW.",
        "",
        "| network | setting | ms | of the first |",
        "| --- | --- | --- | --- |",
    ]
    for (network, setting), seconds in found.precisions.items():
        first = statistics.median(next(times for (other, _), times in found.precisions.items() if other == network))
        median = statistics.median(seconds)
        lines.append(f"| {network} | {setting} | {1000 * median:.0f} | {median / first:.2f} |")
    plain = statistics.median(found.steps[PLAIN])
    lines += [
        "",
        "## Distillation",
        "",
        f"yolov8s teaches yolov8n with response and localization, {IMGSZ} px, batch {BATCH}, "
        f"`common.threads` and `common.precision` auto where no precision is named.",
        "",
        "| training | ms | times ultralytics' own loss |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {1000 * statistics.median(seconds):.0f} | {statistics.median(seconds) / plain:.2f} |"
            for name, seconds in found.steps.items()
        ),
    ]
    if found.parts:
        lines += [
            "",
            "## A whole training",
            "",
            "The default trainings on the digits, all epochs. The student's forward pass includes its teacher's.",
            "",
            *table(found.parts),
        ]
    if found.epochs:
        first = statistics.median(next(iter(found.epochs.values())))
        lines += [
            "",
            "## An epoch of the teacher",
            "",
            f"yolov8s, {IMGSZ} px, BCCD, each commit's default settings: medians of {ROUNDS_AGAINST}, in turns, with "
            "validation and without start-up.",
            "",
            "| commit | s | times as fast |",
            "| --- | --- | --- |",
            *(
                f"| {name} | {statistics.median(seconds):.1f} | {first / statistics.median(seconds):.2f} |"
                for name, seconds in found.epochs.items()
            ),
        ]
    if found.runs:
        lines += [
            "",
            "## Sweeps",
            "",
            f"Six runs of T x alpha, {EPOCHS} epochs each, {SWEPT_IMGSZ} px, without start-up (the time of the same "
            "runs of one epoch is subtracted); each row once, so a few percent are noise.",
            "",
            "| six runs | s | of the time |",
            "| --- | --- | --- |",
            *(
                f"| {name} | {seconds:.0f} | {seconds / found.runs[ONE_BY_ONE]:.2f} |"
                for name, seconds in found.runs.items()
            ),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
