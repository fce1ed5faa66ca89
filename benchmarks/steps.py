"""What distilling costs: a training step, and a sweep, with and without the cache of the teacher's answers.

    make bench-steps BCCD=path/to/BCCD

Steps of four trainings on the same batches, interleaved in one process: ultralytics' own without and with its
`distill_model`, this project's without and with the cache (every answer known). Then six runs of T x alpha as sweeps
with the cache, against the same six one by one without. yolov8s teaches yolov8n on real photographs at 320 px, after a
few epochs of its own: one that is sure of nothing would have less to say. Writes reports/benchmarks/steps.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm
from ultralytics.models.yolo.detect import DetectionTrainer

from benchmarks.photographs import bccd_folder, run_stage, taught_project
from src import PROJECT
from src.detector import runtime
from src.detector.checkpoint import load_detector
from src.detector.dataset import view_of
from src.detector.trainer import ResumableTrainer, TrainerExtras, trainer_with
from src.distillation.cached_teacher import CachedTeacher
from src.distillation.distillation_loss import distillation_from
from src.distillation.objective import Objective
from src.distillation.teacher import FrozenTeacher, Teacher
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_text

PAGE = PROJECT / "reports/benchmarks/steps.md"
IMGSZ, BATCH, THREADS = 320, 16, 4
BATCHES, ROUNDS = 4, 15
TEACHER_EPOCHS = 5
TEMPERATURES, ALPHAS, EPOCHS = (1, 2, 4), (0.5, 0.7), 3
OBJECTIVE = Objective(1.0, 0.5, {"response": 1.0, "localization": 1.0})
PLAIN = "plain ultralytics"
ONE_BY_ONE = "one by one, without cache"

Step = Callable[[dict[str, Any]], None]


def main() -> None:
    """Prepare BCCD in a clone of the last commit, measure there, and write the page."""
    parser = argparse.ArgumentParser(description="What distilling costs: a training step, and a sweep.")
    parser.add_argument("bccd", type=bccd_folder, help="the folder that holds BCCD's Annotations and JPEGImages")
    parser.add_argument("--steps-only", action="store_true", help="without the sweeps, which take most of the time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="steps-") as scratch:
        clone = Path(scratch) / "project"
        learned = [f"imgsz={IMGSZ}", "augmentation=objects", f"threads={THREADS}"]
        taught_project(clone, arguments.bccd, TEACHER_EPOCHS, learned)
        steps = measure_steps(clone)
        write_text(PAGE, page(steps, {} if arguments.steps_only else measure_sweep(clone)))


def measure_steps(project: Path) -> dict[str, list[float]]:
    """Return the seconds of each step by variant, interleaved."""
    device = runtime.settle("cpu", THREADS)
    prepared, teacher_file = project / "data/prepared", project / "models/teacher.pt"
    with tempfile.TemporaryDirectory(prefix="steps-") as scratch, view_of(prepared) as data:
        arguments: dict[str, Any] = {
            "task": "detect",
            "model": "yolov8n.yaml",
            "data": str(data),
            "imgsz": IMGSZ,
            "batch": BATCH,
            "nbs": BATCH,
            "optimizer": "AdamW",
            "epochs": 10,
            "device": device,
            "workers": 0,
            "amp": False,
            "plots": False,
            "pretrained": False,
            "project": scratch,
            "name": "trainer",
        }
        teacher = FrozenTeacher(load_detector(teacher_file))
        cached = CachedTeacher(teacher, "steps", Path(scratch) / "cache", limit_bytes=2**33, features=False)

        def ours(teaching: Teacher) -> ResumableTrainer:
            criterion = distillation_from(teaching, OBJECTIVE)
            return trainer_with(TrainerExtras(Path(scratch) / "state.pt", criterion))(overrides=dict(arguments))

        trainers: dict[str, DetectionTrainer] = {
            PLAIN: DetectionTrainer(overrides=dict(arguments)),
            "ultralytics' `distill_model`": DetectionTrainer(
                overrides={**arguments, "distill_model": str(teacher_file)}
            ),
            "ours": ours(teacher),
            "ours, answers cached": ours(cached),
        }
        for trainer in trainers.values():
            trainer._setup_train()
            trainer._model_train()
        loader = iter(trainers[PLAIN].train_loader)
        batches = [trainers[PLAIN].preprocess_batch(next(loader)) for _ in range(BATCHES)]
        for batch in batches:
            cached(batch["img"])
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        for turn in tqdm(range(ROUNDS + 1), desc="steps"):
            for batch in batches:
                for name, trainer in trainers.items():
                    begun = time.perf_counter()
                    _step(trainer, batch)
                    if turn:  # the first one warms up
                        seconds[name].append(time.perf_counter() - begun)
        assert cached.misses == BATCHES, "every timed answer came from the cache"
    return seconds


def _step(trainer: DetectionTrainer, batch: dict[str, Any]) -> None:
    """Do what ultralytics' loop does with a batch that is loaded and normalised."""
    loss, _ = trainer.model(batch)
    loss.sum().backward()
    trainer.optimizer_step()


def measure_sweep(project: Path) -> dict[str, float]:
    """Return the seconds of six single runs without cache, and of sweeps over the same that begin with an empty one."""
    budget = [f"epochs={EPOCHS}", f"imgsz={IMGSZ}", "augmentation=objects", f"batch={BATCH}"]
    swept = ["-m", *budget, f"T={','.join(map(str, TEMPERATURES))}", f"alpha={','.join(map(str, ALPHAS))}"]
    singles = [
        [*budget, f"threads={THREADS}", f"T={temperature}", f"alpha={alpha}", "cache=never"]
        for temperature in TEMPERATURES
        for alpha in ALPHAS
    ]
    side_by_side = [f"threads={THREADS // 2}", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    measured = {}
    for name, calls in {
        ONE_BY_ONE: singles,
        "a sweep": [[*swept, f"threads={THREADS}"]],
        "a sweep, two jobs at a time of half the threads": [[*swept, *side_by_side]],
    }.items():
        shutil.rmtree(project / ".cache", ignore_errors=True)
        begun = time.perf_counter()
        for arguments in calls:
            run_stage(project, "distill", *arguments)
        measured[name] = time.perf_counter() - begun
    return measured


def page(steps: dict[str, list[float]], runs: dict[str, float]) -> str:
    """Return the benchmark's page."""
    machine = describe_machine()
    plain = statistics.median(steps[PLAIN])
    lines = [
        "# What distilling costs",
        "",
        f"BCCD at {IMGSZ} px, batch {BATCH}, teacher yolov8s, student yolov8n, response and localization. "
        f"{machine['cpu']} ({', '.join(machine['flags'])}), {THREADS} threads.",
        "",
        "`make bench-steps BCCD=...`",
        "",
        f"A step (forward, loss, backward, optimizer; the batch loaded): medians of {ROUNDS * BATCHES}, interleaved.",
        "",
        "| training | s | times plain |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {statistics.median(found):.3f} | {statistics.median(found) / plain:.2f} |"
            for name, found in steps.items()
        ),
    ]
    if runs:
        lines += [
            "",
            f"Six runs of T x alpha, {EPOCHS} epochs each; each row once, so a few percent are noise.",
            "",
            "| six runs | s | of the time |",
            "| --- | --- | --- |",
            *(f"| {name} | {seconds:.0f} | {seconds / runs[ONE_BY_ONE]:.2f} |" for name, seconds in runs.items()),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
