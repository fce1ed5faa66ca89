r"""From which weights a student starts best on your data, against a plain fine-tuning by ultralytics, over seeds.

    make bench-start DATA=voc ROOT=data/mine IMGSZ=320 \
        TEACHER_WEIGHTS=data/weights/yolov8s.pt STUDENT_WEIGHTS=data/weights/yolov8n.pt
    python -m benchmarks.start voc data/mine 320 data/weights/yolov8s.pt data/weights/yolov8n.pt --epochs 50

In a clone of the last commit: a teacher, once, from its pretrained file; then for each seed the student from its own
pretrained file, from its teacher's channels and from scratch, each distilled and on the labels alone; and
`YOLO(STUDENT_WEIGHTS).train` with ultralytics' own defaults for as many epochs. Val chooses, test reports. What was
trained is kept in .cache/benchmarks, so an interrupted benchmark goes on. Writes reports/benchmarks/start-<data>.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import yaml
from tqdm import tqdm
from ultralytics import YOLO

from benchmarks.paired import difference, spread
from benchmarks.photographs import kept_folder, run_stage, taught_project
from src import PROJECT
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector
from src.detector.dataset import view_of
from src.detector.initial_weights import expect_same_architecture
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_json, write_text
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import PREPARED, STUDENT
from src.foundation.processors import processors_for
from src.teaching.suitability import untrained
from src.teaching.weight_selection import select_weights

STAGES = ("prepare_labels", "train_teacher", "distill")
PLAIN = "ultralytics' fine-tuning"
OWN, CHANNELS, SCRATCH = "its own pretrained weights", "its teacher's channels", "scratch"
DISTILLED, LABELS = "distilled", "labels alone"
TEACHING = {DISTILLED: "offline", LABELS: "hard"}

Results = Mapping[str, Sequence[Mapping[str, float]]]
"""By the title of a row, one result per seed: mAP50-95 on `val` and `test`, in [0, 1], and `minutes`."""


@dataclass(frozen=True)
class Task:
    """What is compared.

    Attributes:
        data: a file of conf/data.
        root: the folder of labelled images.
        imgsz: side of the square input, px.
        teacher: a file of conf/teacher.
        student: a file of conf/student.
        teacher_weights: the teacher's pretrained file.
        student_weights: the student's.
        teacher_epochs: of the teacher's training.
        epochs: of each student's, and of the plain fine-tuning.
        settings: further overrides of train-teacher and distill-student.
    """

    data: str
    root: Path
    imgsz: int
    teacher: str
    student: str
    teacher_weights: Path
    student_weights: Path
    teacher_epochs: int
    epochs: int
    settings: tuple[str, ...]

    @property
    def shared(self) -> list[str]:
        """The overrides of both stages."""
        return [f"imgsz={self.imgsz}", "augmentation=objects", *self.settings]


def main() -> None:
    """Train what is missing and write the page."""
    task, seeds = _asked()
    try:
        expect_files(task)
    except UserError as error:
        sys.exit(f"error: {error}")
    weights = digest(task.teacher_weights), digest(task.student_weights)
    try:
        results = measured(task, kept_folder(f"start-{task.data}", STAGES, task, *weights), seeds)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(error.cmd[1:3])} failed; its message is above")
    write_text(PROJECT / f"reports/benchmarks/start-{task.data}.md", page(task, results))


def _asked() -> tuple[Task, int]:
    """Return what the command line asks for, and the number of seeds."""
    parser = argparse.ArgumentParser(description="From which weights a student starts best on your data.")
    files = {
        group: sorted(path.stem for path in (PROJECT / f"conf/{group}").glob("*.yaml"))
        for group in ("data", "teacher", "student")
    }
    parser.add_argument("data", choices=files["data"], help="a file of conf/data")
    parser.add_argument("root", type=Path, help="the folder of labelled images")
    parser.add_argument("imgsz", type=int, help="side of the input, px")
    parser.add_argument("teacher_weights", type=Path, help="ultralytics' pretrained file of the teacher")
    parser.add_argument("student_weights", type=Path, help="the same of the student")
    parser.add_argument("--teacher", default="yolov8s", choices=files["teacher"], help="a file of conf/teacher")
    parser.add_argument("--student", default="yolov8n", choices=files["student"], help="a file of conf/student")
    parser.add_argument("--teacher-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=30, help="of each student and of the plain fine-tuning")
    parser.add_argument("--seeds", type=int, default=3, help="at least 2: one has no interval")
    parser.add_argument("--settings", nargs="*", default=[], help="of train-teacher and distill-student: batch=32")
    given = vars(parser.parse_args())
    seeds, settings = given.pop("seeds"), tuple(given.pop("settings"))
    if seeds < 2:
        parser.error("--seeds must be at least 2: one seed has no interval")
    paths = {key: given.pop(key).resolve() for key in ("root", "teacher_weights", "student_weights")}
    return Task(**given, **paths, settings=settings), seeds


def expect_files(task: Task) -> None:
    """Check, before anything is trained, that the files suit the networks, and the student its teacher.

    Raises:
        UserError: all that is wrong, a line for each fault.
    """
    teacher, student = (
        _architecture(group, choice) for group, choice in (("teacher", task.teacher), ("student", task.student))
    )
    faults = []
    for architecture, path in ((teacher, task.teacher_weights), (student, task.student_weights)):
        try:
            expect_same_architecture(load_detector(path), untrained(architecture))
        except UserError as error:
            faults.append(str(error) if str(path) in str(error) else f"{path}, for {architecture}: {error}")
    try:
        select_weights(untrained(teacher), student)
    except UserError as error:
        faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))


def measured(task: Task, kept: Path, seeds: int) -> Results:
    """Return the results of all trainings; those that are known are not repeated.

    Args:
        task: what is compared.
        kept: the folder of the project and of the results.
        seeds: number of seeds.
    """
    project = taught_project(
        kept / "project",
        task.root,
        task.teacher_epochs,
        [*task.shared, f"teacher={task.teacher}", f"teacher.weights={_quoted(task.teacher_weights)}"],
        task.data,
    )
    starts = {OWN: _quoted(task.student_weights), CHANNELS: "teacher", SCRATCH: "null"}
    rows = {f"{start}, {taught}": (start, taught) for start in starts for taught in TEACHING}
    found: dict[str, list[dict[str, float]]] = {title: [] for title in (PLAIN, *rows)}
    for seed, title in tqdm([(seed, title) for seed in range(seeds) for title in found], desc="trainings"):
        result = kept / f"results/{title.replace(' ', '-')}-{seed}.json"
        if not result.exists():
            result.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="trained-", dir=kept) as scratch:
                begun_s = time.monotonic()
                if title == PLAIN:
                    weights = _plain(task, project / PREPARED, seed, Path(scratch))
                else:
                    start, taught = rows[title]
                    weights = _ours(
                        task, project, [f"seed={seed}", f"student.weights={starts[start]}"], taught, scratch
                    )
                minutes = (time.monotonic() - begun_s) / 60
                write_json(result, {**_accuracy(weights, project / PREPARED, task.imgsz), "minutes": minutes})
        found[title].append(json.loads(result.read_text(encoding="utf-8")))
    return found


def _ours(task: Task, project: Path, overrides: Sequence[str], taught: str, scratch: str) -> Path:
    own = [f"student={task.student}", f"epochs={task.epochs}", f"teaching={TEACHING[taught]}", "control=never"]
    run_stage(project, "distill", *task.shared, *own, *overrides, f"hydra.run.dir={scratch}")
    return Path(scratch) / STUDENT


def _plain(task: Task, prepared: Path, seed: int, scratch: Path) -> Path:
    """Fine-tune as a user of ultralytics alone does: its defaults, with the budget of the others."""
    device = runtime.settle("auto", processors_for("auto"))
    with view_of(prepared) as data:
        YOLO(task.student_weights).train(
            data=str(data),
            epochs=task.epochs,
            imgsz=task.imgsz,
            seed=seed,
            device=device,
            amp=False,  # on a GPU, ultralytics would download a network to test it
            plots=False,
            project=str(scratch),
            name="plain",
        )
    return scratch / "plain/weights/best.pt"


def _accuracy(weights: Path, prepared: Path, imgsz: int) -> dict[str, float]:
    device = runtime.settle("auto", processors_for("auto"))
    with view_of(prepared) as data:
        return {
            split: validate(weights, data, split=split, imgsz=imgsz, device=device).map50_95
            for split in ("val", "test")
        }


def _architecture(group: str, choice: str) -> str:
    content = yaml.safe_load((PROJECT / f"conf/{group}/{choice}.yaml").read_text(encoding="utf-8"))
    return str(content["architecture"])


def _quoted(path: Path) -> str:
    """Return a path as the value of an override."""
    return json.dumps(str(path), ensure_ascii=False)


def page(task: Task, results: Results) -> str:
    """Return the benchmark's page."""
    machine = describe_machine()
    plain = _percent(results[PLAIN], "test")
    lines = [
        f"# From which weights the student starts: {task.data}",
        "",
        f"{task.student} with {task.epochs} epochs at {task.imgsz} px in each row. The teacher, {task.teacher}, was "
        f"trained once, from {task.teacher_weights.name}, for {task.teacher_epochs} epochs, which are not in the "
        f"minutes. {PLAIN[0].upper()}{PLAIN[1:]}: `YOLO({task.student_weights.name!r}).train` with its own defaults "
        "(without mixed precision). mAP50-95 in percent: mean over seeds and standard deviation. The difference is "
        f"on test, paired by seed, with a 95% t interval. {machine['cpu']}, {machine['cores']} processors, torch "
        f"{machine['versions']['torch']}.",
        "",
        f"| {task.student} from | seeds | val | test | against {PLAIN} | minutes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, runs in results.items():
        test = _percent(runs, "test")
        against = "" if title == PLAIN else difference(plain, test)
        minutes = mean(run["minutes"] for run in runs)
        val = spread(_percent(runs, "val"))
        lines.append(f"| {title} | {len(runs)} | {val} | {spread(test)} | {against} | {minutes:.1f} |")
    chosen = max(
        (title for title in results if title != PLAIN), key=lambda title: mean(_percent(results[title], "val"))
    )
    lines += [
        "",
        f"The best start on val: {chosen}. On test it differs from {PLAIN} by "
        f"{difference(plain, _percent(results[chosen], 'test'))}.",
        "",
    ]
    for taught in TEACHING:
        own, channels = (_percent(results[f"{start}, {taught}"], "test") for start in (OWN, CHANNELS))
        lines.append(f"- {taught}: {CHANNELS} instead of {OWN}, on test: {difference(own, channels)}.")
    for start in (OWN, CHANNELS):
        labels, distilled = (_percent(results[f"{start}, {taught}"], "test") for taught in (LABELS, DISTILLED))
        lines.append(f"- {start}: {DISTILLED} instead of {LABELS}, on test: {difference(labels, distilled)}.")
    return "\n".join(lines) + "\n"


def _percent(runs: Sequence[Mapping[str, float]], split: str) -> list[float]:
    return [100 * run[split] for run in runs]


if __name__ == "__main__":
    main()
