"""Accuracy of trainings in bfloat16 and in float32, over paired seeds.

    make bench-precision BCCD=path/to/BCCD

A yolov8n is trained from scratch with labels alone, on the embedded digits and on real photographs. The two runs of a
pair have the same seed, data and settings, and differ in `common.precision`. Writes reports/benchmarks/precision.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.paired import difference, spread
from benchmarks.photographs import bccd_folder, cloned, kept_folder, run_stage
from src import PROJECT
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_json, write_text
from src.foundation.processors import processors_for

PAGE = PROJECT / "reports/benchmarks/precision.md"
STAGES = ("prepare_labels", "train_teacher")
PRECISIONS = ("float32", "bfloat16")
NETWORK = ("teacher.architecture=yolov8n.yaml", "teacher.weights=null")


@dataclass(frozen=True)
class Ground:
    """The data and the budget of a pair of trainings.

    Attributes:
        title: of its rows.
        preparing: overrides of prepare-labels.
        training: overrides of the training.
        imgsz: side of the square input, px.
    """

    title: str
    preparing: tuple[str, ...]
    training: tuple[str, ...]
    imgsz: int


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description="Accuracy of trainings in bfloat16 and in float32.")
    parser.add_argument("bccd", type=bccd_folder, help="the folder that holds BCCD's Annotations and JPEGImages")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    grounds = (
        Ground("digits, 160 px, 8 epochs", ("data=digits",), ("epochs=8",), 160),
        Ground(
            "BCCD, 320 px, 30 epochs",
            ("data=bccd", f"data.root={arguments.bccd}"),
            ("epochs=30", "imgsz=320", "augmentation=objects"),
            320,
        ),
    )
    kept = kept_folder("precision", STAGES, arguments.bccd)
    results = {ground.title: _results(ground, kept, arguments.seeds) for ground in grounds}
    write_text(PAGE, page(results))


def _results(ground: Ground, kept: Path, seeds: int) -> dict[str, list[dict[str, float]]]:
    """Return the accuracy on test of each run by precision; runs that are known are not repeated."""
    project = cloned(kept / ground.title.partition(",")[0])
    if not (project / "data/prepared").exists():
        with tempfile.TemporaryDirectory(prefix="made-", dir=project) as made:
            run_stage(project, "prepare_labels", *ground.preparing, f"hydra.run.dir={made}")
            (Path(made) / "data/prepared").rename(project / "data/prepared")
    found: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
    runs = [(seed, precision) for seed in range(seeds) for precision in PRECISIONS]
    for seed, precision in tqdm(runs, desc=ground.title):
        folder = project / f"outputs/{precision}-{seed}"
        if not (folder / "result.json").exists():
            overrides = (*NETWORK, *ground.training, f"precision={precision}", f"seed={seed}")
            run_stage(project, "train_teacher", *overrides, f"hydra.run.dir={folder}")
            accuracy = _on_test(folder / "models/teacher.pt", project / "data/prepared", ground.imgsz)
            write_json(folder / "result.json", {"map50_95": accuracy})
        found[precision].append(json.loads((folder / "result.json").read_text()))
    return found


def _on_test(weights: Path, prepared: Path, imgsz: int) -> float:
    device = runtime.settle("cpu", processors_for("auto"))
    with view_of(prepared) as data:
        return validate(weights, data, split="test", imgsz=imgsz, device=device).map50_95


def page(results: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> str:
    """Return the benchmark's page."""
    machine = describe_machine()
    lines = [
        "# Accuracy in bfloat16 and in float32",
        "",
        f"yolov8n from scratch, labels alone, mAP50-95 on test in percent. {machine['cpu']} "
        f"({', '.join(machine['flags'])}), {machine['cores']} processors, torch {machine['versions']['torch']}.",
        "",
        "`make bench-precision BCCD=...`",
        "",
        "| data | seeds | float32 | bfloat16 | difference, 95% t interval |",
        "| --- | --- | --- | --- | --- |",
    ]
    for title, found in results.items():
        exact, rounded = ([100 * run["map50_95"] for run in found[precision]] for precision in PRECISIONS)
        lines.append(f"| {title} | {len(exact)} | {spread(exact)} | {spread(rounded)} | {difference(exact, rounded)} |")
    lines += [
        "",
        "The difference is bfloat16 minus float32, paired by seed.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
