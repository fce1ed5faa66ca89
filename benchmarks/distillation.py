"""Every loss and every way of teaching under one protocol: equal data, equal epochs, several seeds.

    make bench-distillation                                       the prepared data and the teacher of the pipeline
    python -m benchmarks.distillation --epochs 30 --seeds 5 --only heads,hard

Each variant is a sweep of src.distill over seeds, so the teacher is asked once per batch. What is finished is kept in
.cache/benchmarks and not run again for the same data, teacher and code. Writes reports/benchmarks/distillation.md and
.png, after every variant.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import yaml
from hydra import compose, initialize_config_dir
from ultralytics.models.yolo.detect import DetectionTrainer

from src import config, files
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector, save_detector
from src.detector.dataset import view_of
from src.distillation.weight_selection import select_weights
from src.evaluation.machine import describe_machine
from src.labels.digits import compose_scenes

PROJECT = config.PROJECT
PAGE = PROJECT / "reports/benchmarks/distillation.md"
PICTURE = PAGE.with_suffix(".png")
PREPARED, TEACHER = PROJECT / "data/prepared", PROJECT / "models/teacher.pt"
CONTROL = "labels alone"


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
    Variant("teacher's weights, labels alone", ("teaching=hard",), "selected_hard", config.FROM_TEACHER),
    Variant("teacher's weights, distill_model", (), "selected_ultralytics", config.FROM_TEACHER),
    Variant("teacher's weights, heads", ("distillation=heads",), "selected_heads", config.FROM_TEACHER),
)


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description="Losses and teachers under one protocol.")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="variants, by key: " + ", ".join(variant.key for variant in VARIANTS))
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else [variant.key for variant in VARIANTS]
    known = _results_file(arguments.epochs)
    results: dict[str, dict[str, Any]] = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    for variant in VARIANTS:
        missing = [seed for seed in range(arguments.seeds) if f"{variant.key}/{seed}" not in results]
        if variant.key in chosen and missing:
            begun = time.monotonic()
            train = _ours if variant.overrides else _ultralytics
            found = train(variant, missing, arguments.epochs)
            minutes = (time.monotonic() - begun) / 60 / len(missing)
            for seed, accuracy in found.items():
                results[f"{variant.key}/{seed}"] = {**accuracy, "minutes": minutes}
            files.write_json(known, results)
            _write(results, arguments.epochs)
    _write(results, arguments.epochs)


def _write(results: dict[str, dict[str, Any]], epochs: int) -> None:
    files.write_text(PAGE, page(results, epochs))
    _draw(results)


def _ours(variant: Variant, seeds: list[int], epochs: int) -> dict[int, dict[str, float]]:
    """Sweep the stage over seeds, and return the accuracy of each student on val and test."""
    epochs += _params_of("train_teacher")["epochs"] if variant.longer else 0
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        overrides = [f"epochs={epochs}", f"seed={','.join(map(str, seeds))}", f"student.weights={variant.weights}"]
        overrides += variant.overrides
        if variant.key == "unlabelled":
            overrides.append(f"teaching.folder={_scenes_without_labels(Path(scratch) / 'unlabelled')}")
        command = [sys.executable, "-m", "src.distill", "-m", *overrides, f"hydra.sweep.dir={scratch}/sweep"]
        subprocess.run(command, cwd=PROJECT, check=True)
        return {
            seed: _accuracy(Path(scratch) / f"sweep/{number}/models/student.pt") for number, seed in enumerate(seeds)
        }


def _ultralytics(variant: Variant, seeds: list[int], epochs: int) -> dict[int, dict[str, float]]:
    """Train with ultralytics' own distillation, the settings of the stage and its default weight."""
    params = _params()
    found = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch, view_of(PREPARED) as data:
            first = Path(scratch) / "first.pt"
            if variant.weights == config.FROM_TEACHER:
                save_detector(select_weights(load_detector(TEACHER), params.student.architecture), first, params.imgsz)
            trainer = DetectionTrainer(
                overrides={
                    **params.settings(),
                    "seed": seed,
                    "epochs": epochs,
                    "task": "detect",
                    "model": params.student.architecture,
                    "distill_model": str(TEACHER),
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
            found[seed] = _accuracy(path)
    return found


def _accuracy(path: Path) -> dict[str, float]:
    params = _params()
    device = runtime.settle(params.device, params.threads)
    with view_of(PREPARED) as data:
        return {
            split: validate(path, data, split=split, imgsz=params.imgsz, device=device).map50_95
            for split in ("val", "test")
        }


def _params() -> config.Distill:
    config.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return config.typed("distill", compose("distill"))


def _params_of(stage: str) -> Any:
    return yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))[stage]


def _scenes_without_labels(folder: Path) -> Path:
    """Compose as many more scenes as train has, of the same digits: none of val or test is in them."""
    settings = yaml.safe_load((PROJECT / "conf/data/digits.yaml").read_text(encoding="utf-8"))
    seed = _params_of("prepare_labels")["seed"]
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


def _results_file(epochs: int) -> Path:
    """Return where finished runs of this data, teacher, code and budget are kept."""
    key = hashlib.sha256(f"{files.digest(PREPARED)} {files.digest(TEACHER)} {epochs} {_params()}".encode())
    paths = [PROJECT / "src" / name for name in ("detector/training.py", "teacher.py", "teaching.py")]
    paths += sorted((PROJECT / "src/distillation").glob("*.py"))
    paths += [path for group in ("distillation", "teaching") for path in sorted((PROJECT / "conf" / group).iterdir())]
    for path in paths:
        key.update(path.read_bytes())
    return PROJECT / f".cache/benchmarks/distillation-{key.hexdigest()[:16]}.json"


def _by_variant(results: dict[str, dict[str, Any]]) -> dict[Variant, list[dict[str, Any]]]:
    runs = {
        variant: [result for key, result in sorted(results.items()) if key.startswith(f"{variant.key}/")]
        for variant in VARIANTS
    }
    return {variant: found for variant, found in runs.items() if found}


def page(results: dict[str, dict[str, Any]], epochs: int) -> str:
    """Return the benchmark's page."""
    params, runs = _params(), _by_variant(results)
    with view_of(PREPARED) as data:
        device = runtime.settle(params.device, params.threads)
        teacher = validate(TEACHER, data, split="test", imgsz=params.imgsz, device=device).map50_95
    machine = describe_machine()
    control = [result["test"] for variant, found in runs.items() if variant.title == CONTROL for result in found]
    lines = [
        "# Distillation: losses and teachers under one protocol",
        "",
        f"Student {params.student.architecture}, from scratch where nothing else is said, teacher of the pipeline "
        f"({100 * teacher:.1f} mAP50-95 on test), {params.imgsz} px, {epochs} epochs each, T = {params.T:g}, "
        f"alpha = {params.alpha:g}; {machine['cpu']}, {params.threads} threads. mAP50-95 in percent: mean over seeds "
        "and standard deviation.",
        "",
        "`make bench-distillation`",
        "",
        "| variant | seeds | val | test | against labels alone | of the gap | minutes per run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant, found in runs.items():
        val, test = ([100 * result[split] for result in found] for split in ("val", "test"))
        gain = statistics.mean(test) - 100 * statistics.mean(control) if control else None
        gap = 100 * (teacher - statistics.mean(control)) if control else None
        lines.append(
            f"| {variant.title} | {len(found)} | {_spread(val)} | {_spread(test)} | "
            f"{'' if gain is None or variant.title == CONTROL else f'{gain:+.1f}'} | "
            f"{'' if gain is None or variant.title == CONTROL else f'{100 * gain / gap:.0f}%'} | "
            f"{statistics.mean(result['minutes'] for result in found):.1f} |"
        )
    lines += [
        "",
        f"![mAP50-95 on test, a dot per seed]({PICTURE.name})",
        "",
        "Minutes are those of sweeps with the teacher's answers cached, by the clock: they count networks that are "
        "trained first, and whatever else the machine did.",
    ]
    missing = [variant.title for variant in VARIANTS if variant not in runs]
    if missing:
        lines += ["", f"Not run yet: {'; '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def _draw(results: dict[str, dict[str, Any]]) -> None:
    runs = _by_variant(results)
    figure, axes = plt.subplots(figsize=(8, 1 + 0.35 * len(runs)), layout="constrained")
    for row, found in enumerate(runs.values()):
        values = [100 * result["test"] for result in found]
        axes.plot(values, [row] * len(values), "o", color="tab:blue", alpha=0.5)
        axes.plot(statistics.mean(values), row, "|", color="black", markersize=14)
    axes.set_yticks(range(len(runs)), [variant.title for variant in runs])
    axes.invert_yaxis()
    axes.set_xlabel("mAP50-95 on test, percent: a dot per seed, a bar at the mean")
    axes.grid(axis="x", alpha=0.3)
    with files.whole_file(PICTURE) as partial:
        figure.savefig(partial, dpi=120, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
