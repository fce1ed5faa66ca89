"""Every loss and every way of teaching under one protocol: equal data, equal epochs, several seeds.

    make bench-distillation BCCD=path/to/BCCD
    python -m benchmarks.distillation path/to/BCCD --on digits --seeds 5 --only heads,hard

On two datasets: the embedded digits, with the prepared data and the teacher of the pipeline, and real photographs, in a
clone of the last commit with a teacher of its own. Each variant is a sweep of src.distill over seeds, so the teacher is
asked once per batch. Finished runs are kept in .cache/benchmarks and not repeated for the same data, teacher and
code. Writes reports/benchmarks/distillation.md and a picture per dataset, after every variant.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import yaml
from hydra import compose, initialize_config_dir
from ultralytics.models.yolo.detect import DetectionTrainer

from benchmarks.photographs import bccd_folder, kept_folder, run_stage, taught_project
from src import PROJECT
from src.config.architecture import FROM_TEACHER
from src.config.composition import register, typed
from src.config.distill import Distill
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector, save_detector
from src.detector.dataset import view_of
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_json, write_text
from src.foundation.digests import digest
from src.labels.digits import compose_scenes
from src.reporting.plots import plot
from src.teaching.weight_selection import select_weights

PROJECT = PROJECT
PAGE = PROJECT / "reports/benchmarks/distillation.md"
STAGE = "distill"

CONTROL = "labels alone"
BCCD_TEACHER_EPOCHS = 40
BCCD_SETTINGS = {"imgsz": 320, "augmentation": "objects"}


@dataclass(frozen=True)
class Ground:
    """Where the variants are compared.

    Attributes:
        name: for --on.
        title: of its section.
        project: the folder whose data/prepared and models/teacher.pt they have, and whose code trains them.
        settings: overrides of the stage's configuration.
        epochs: of a student.
        teacher_epochs: that the teacher had.
        without: keys of variants that it has no images for.
    """

    name: str
    title: str
    project: Path
    settings: tuple[str, ...]
    epochs: int
    teacher_epochs: int
    without: tuple[str, ...] = ()

    @property
    def prepared(self) -> Path:
        """The dataset."""
        return self.project / "data/prepared"

    @property
    def teacher(self) -> Path:
        """The teacher's weights."""
        return self.project / "models/teacher.pt"

    @property
    def picture(self) -> Path:
        """Where the results are drawn."""
        return PAGE.with_name(f"{PAGE.stem}-{self.name}.png")

    @cached_property
    def params(self) -> Distill:
        """The parameters of the stage, before any variant's."""
        register()
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return typed("distill", compose("distill", list(self.settings)))

    @cached_property
    def results_file(self) -> Path:
        """Where finished runs of this data, teacher, code and budget are kept."""
        what = [digest(self.prepared), digest(self.teacher), self.epochs, self.params]
        return kept_folder("distillation", [STAGE], *what) / "results.json"


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        title: its name.
        overrides: of the stage's configuration.
        key: for --only.
        weights: the student's first: null, from scratch, or its teacher's.
        longer: whether it is trained for as many epochs as teacher and student together.
    """

    title: str
    overrides: tuple[str, ...]
    key: str
    weights: str = "null"
    longer: bool = False


VARIANTS = (
    Variant(CONTROL, ("teaching=hard",), "hard"),
    Variant("labels alone, the teacher's epochs besides", ("teaching=hard",), "hard_longer", longer=True),
    Variant("label smoothing 0.1", ("teaching=label_smoothing",), "label_smoothing"),
    Variant("ultralytics' distill_model", (), "ultralytics"),
    Variant("response", ("distillation=response",), "response"),
    Variant("localization", ("distillation=localization",), "localization"),
    Variant("feature", ("distillation=feature",), "feature"),
    Variant("channel-wise", ("distillation=channel_wise",), "channel_wise"),
    Variant("heads: response + localization", ("distillation=heads",), "heads"),
    Variant("heads, response x 4", ("distillation=heads", "distillation.response=4"), "heads_response4"),
    Variant("heads + feature", ("distillation=heads_feature",), "heads_feature"),
    Variant("heads + channel-wise", ("distillation=heads_channel_wise",), "heads_channel_wise"),
    Variant("heads, ensemble with yolo11s", ("teaching=ensemble",), "ensemble"),
    Variant("heads, born again", ("teaching=born_again",), "born_again"),
    Variant("heads, mean teacher", ("teaching=mean_teacher",), "mean_teacher"),
    Variant("heads, mutual", ("teaching=mutual",), "mutual"),
    Variant("heads, unlabelled images", ("teaching=unlabelled",), "unlabelled"),
    Variant("heads, assistant yolov8s", ("teaching=assistants",), "assistants"),
    Variant("teacher's weights, labels alone", ("teaching=hard",), "selected_hard", FROM_TEACHER),
    Variant("teacher's weights, distill_model", (), "selected_ultralytics", FROM_TEACHER),
    Variant("teacher's weights, channel-wise", ("distillation=channel_wise",), "selected_channel", FROM_TEACHER),
    Variant("teacher's weights, heads", ("distillation=heads",), "selected_heads", FROM_TEACHER),
    Variant(
        "teacher's weights, heads + channel-wise",
        ("distillation=heads_channel_wise",),
        "selected_both",
        FROM_TEACHER,
    ),
)


def main() -> None:
    """Run what is missing and write the page."""
    keys = ", ".join(variant.key for variant in VARIANTS)
    parser = argparse.ArgumentParser(description="Losses and teachers under one protocol.")
    parser.add_argument("bccd", type=bccd_folder, help="the folder that holds BCCD's Annotations and JPEGImages")
    parser.add_argument("--on", choices=["digits", "bccd"], help="train on one dataset alone")
    parser.add_argument("--epochs", type=int, nargs=2, default=(6, 15), help="of a student on digits, and on BCCD")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="seeds that are trained side by side, with a thread each")
    parser.add_argument("--only", help=f"variants, by key: {keys}")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else keys.split(", ")
    grounds = (_digits(arguments.epochs[0]), _photographs(arguments.bccd, arguments.epochs[1]))
    for ground in grounds:
        for variant in VARIANTS:
            known = _known(ground)
            missing = [seed for seed in range(arguments.seeds) if f"{variant.key}/{seed}" not in known]
            wanted = arguments.on in (None, ground.name) and variant.key in chosen and variant.key not in ground.without
            if wanted and missing:
                trained = _trained(ground, variant, missing, arguments.jobs)
                write_json(ground.results_file, {**_known(ground), **trained})  # others may have added some
                _write(grounds)
    _write(grounds)


def _digits(epochs: int) -> Ground:
    stages = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    return Ground("digits", "The embedded digits", PROJECT, (), epochs, stages["train_teacher"]["epochs"])


def _photographs(bccd: Path, epochs: int) -> Ground:
    settings = tuple(f"{key}={value}" for key, value in BCCD_SETTINGS.items())
    kept = kept_folder("distillation-bccd", ["prepare_labels", "train_teacher", STAGE], BCCD_SETTINGS, bccd)
    project = taught_project(kept / "project", bccd, BCCD_TEACHER_EPOCHS, settings)
    title = "Real photographs (BCCD, 205 of them to train on)"
    return Ground("bccd", title, project, settings, epochs, BCCD_TEACHER_EPOCHS, without=("unlabelled",))


def _known(ground: Ground) -> dict[str, dict[str, Any]]:
    if not ground.results_file.exists():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(ground.results_file.read_text(encoding="utf-8"))
    return found


def _trained(ground: Ground, variant: Variant, seeds: list[int], jobs: int) -> dict[str, dict[str, Any]]:
    """Train one student per seed, and return by variant and seed its accuracy and the minutes that it took."""
    begun = time.monotonic()
    found = _ours(ground, variant, seeds, jobs) if variant.overrides else _ultralytics(ground, variant, seeds)
    minutes = (time.monotonic() - begun) / 60 / len(seeds)
    return {f"{variant.key}/{seed}": {**accuracy, "minutes": minutes} for seed, accuracy in found.items()}


def _ours(ground: Ground, variant: Variant, seeds: list[int], jobs: int) -> dict[int, dict[str, float]]:
    """Sweep the stage over seeds, and return the accuracy of each student on val and test."""
    epochs = ground.epochs + (ground.teacher_epochs if variant.longer else 0)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        overrides = [*ground.settings, f"epochs={epochs}", f"seed={','.join(map(str, seeds))}"]
        overrides += [f"student.weights={variant.weights}", *variant.overrides]
        if jobs > 1:
            overrides += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}", "threads=1"]
        if variant.key == "unlabelled":
            overrides.append(f"teaching.folder={_scenes_without_labels(Path(scratch) / 'unlabelled')}")
        run_stage(ground.project, "distill", "-m", *overrides, f"hydra.sweep.dir={scratch}/sweep")
        return {
            seed: _accuracy(ground, Path(scratch) / f"sweep/{number}/models/student.pt")
            for number, seed in enumerate(seeds)
        }


def _ultralytics(ground: Ground, variant: Variant, seeds: list[int]) -> dict[int, dict[str, float]]:
    """Train with ultralytics' own distillation, the settings of the stage and its default weight."""
    params = ground.params
    found = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch, view_of(ground.prepared) as data:
            first = Path(scratch) / "first.pt"
            if variant.weights == FROM_TEACHER:
                selected = select_weights(load_detector(ground.teacher), params.student.architecture)
                save_detector(selected, first, params.imgsz)
            trainer = DetectionTrainer(
                overrides={
                    **params.trainer_arguments(),
                    "seed": seed,
                    "epochs": ground.epochs,
                    "task": "detect",
                    "model": params.student.architecture,
                    "distill_model": str(ground.teacher),
                    "data": str(data),
                    "device": runtime.settle(params.device, params.threads),
                    "nbs": params.batch,
                    "cos_lr": True,
                    "amp": False,
                    "plots": False,
                    "pretrained": str(first) if first.exists() else False,
                    "project": scratch,
                    "name": "trainer",
                }
            )
            best: dict[str, Any] = {}

            def keep_best(trainer: DetectionTrainer, best: dict[str, Any] = best) -> None:
                if trainer.best_fitness == trainer.fitness:
                    best["network"] = deepcopy(trainer.ema.ema.student_model)

            trainer.add_callback("on_model_save", keep_best)
            trainer.train()
            path = Path(scratch) / "student.pt"
            save_detector(best["network"], path, params.imgsz)
            found[seed] = _accuracy(ground, path)
    return found


def _accuracy(ground: Ground, path: Path) -> dict[str, float]:
    """Return mAP50-95 on val and test."""
    params = ground.params
    device = runtime.settle(params.device, params.threads)
    with view_of(ground.prepared) as data:
        return {
            split: validate(path, data, split=split, imgsz=params.imgsz, device=device).map50_95
            for split in ("val", "test")
        }


def _scenes_without_labels(folder: Path) -> Path:
    """Compose as many more scenes as train has, of the same digits: none of val or test is in them."""
    settings = yaml.safe_load((PROJECT / "conf/data/digits.yaml").read_text(encoding="utf-8"))
    seed = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))["prepare_labels"]["seed"]
    folder.mkdir()
    composed = compose_scenes(
        folder,
        images_per_split={"train": 2 * settings["train_images"], "val": 0, "test": 0},
        size_px=settings["size_px"],
        digits_per_scene=(settings["fewest_digits"], settings["most_digits"]),
        digit_size=(settings["smallest"], settings["largest"]),
        rotation_deg=settings["rotation_deg"],
        seed=seed,
    )
    for scene in composed.images[: settings["train_images"]]:  # those that train has
        scene.path.unlink()
    return folder


def _by_variant(ground: Ground) -> dict[Variant, list[dict[str, Any]]]:
    known = sorted(_known(ground).items())
    runs = {variant: [result for key, result in known if key.startswith(f"{variant.key}/")] for variant in VARIANTS}
    return {variant: found for variant, found in runs.items() if found}


def _write(grounds: tuple[Ground, ...]) -> None:
    runs = {ground: _by_variant(ground) for ground in grounds}
    write_text(PAGE, page(runs))
    for ground, found in runs.items():
        if found:
            _draw(ground, found)


def page(runs: dict[Ground, dict[Variant, list[dict[str, Any]]]]) -> str:
    """Return the benchmark's page."""
    machine = describe_machine()
    lines = [
        "# Distillation: losses and teachers under one protocol",
        "",
        f"Every student is a {next(iter(runs)).params.student.architecture}, from scratch where nothing else is said; "
        "equal data and equal epochs; mAP50-95 in percent: mean over seeds and standard deviation. Of the gap: the "
        f"share of what lies between labels alone and the teacher. {machine['cpu']}.",
        "",
        "`make bench-distillation BCCD=...`",
    ]
    for ground, found in runs.items():
        lines += ["", *_section(ground, found)]
    lines += [
        "",
        "Minutes are those of sweeps with the teacher's answers cached, by the clock: they count networks that are "
        "trained first, and whatever else the machine did.",
    ]
    return "\n".join(lines) + "\n"


def _section(ground: Ground, runs: dict[Variant, list[dict[str, Any]]]) -> list[str]:
    params = ground.params
    teacher = _accuracy(ground, ground.teacher)
    control = [result["test"] for variant, found in runs.items() if variant.title == CONTROL for result in found]
    lines = [
        f"## {ground.title}",
        "",
        f"{params.imgsz} px, {ground.epochs} epochs; the teacher had {ground.teacher_epochs} and reaches "
        f"{100 * teacher['val']:.1f} on val, {100 * teacher['test']:.1f} on test. T = {params.T:g}, alpha = "
        f"{params.alpha:g}.",
        "",
        "| variant | seeds | val | test | against labels alone | of the gap | minutes per run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant, found in runs.items():
        val, test = ([100 * result[split] for result in found] for split in ("val", "test"))
        gain = gap = ""
        if control and variant.title != CONTROL:
            gained = statistics.mean(test) - 100 * statistics.mean(control)
            gain = f"{gained:+.1f}"
            gap = f"{gained / (teacher['test'] - statistics.mean(control)):.0f}%"
        lines.append(
            f"| {variant.title} | {len(found)} | {_spread(val)} | {_spread(test)} | {gain} | {gap} | "
            f"{statistics.mean(result['minutes'] for result in found):.1f} |"
        )
    if runs:
        lines += ["", f"![mAP50-95 on test, a dot per seed]({ground.picture.name})"]
    missing = [variant.title for variant in VARIANTS if variant not in runs and variant.key not in ground.without]
    if missing:
        lines += ["", f"Not run: {'; '.join(missing)}."]
    return lines


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _draw(ground: Ground, runs: dict[Variant, list[dict[str, Any]]]) -> None:
    with plot(ground.picture, 8, 1 + 0.35 * len(runs)) as figure:
        axes = figure.add_subplot()
        for row, found in enumerate(runs.values()):
            values = [100 * result["test"] for result in found]
            axes.plot(values, [row] * len(values), "o", color="C0", alpha=0.5)
            axes.plot(statistics.mean(values), row, "|", color="black", markersize=14)
        axes.set_yticks(range(len(runs)), [variant.title for variant in runs])
        axes.invert_yaxis()
        axes.set_xlabel("mAP50-95 on test, percent: a dot per seed, a bar at the mean")


if __name__ == "__main__":
    main()
