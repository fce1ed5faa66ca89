"""Costs and gains of the chain from teacher to INT8 on real photographs, over seeds, with controls.

    make bench-compression BCCD=path/to/BCCD
    python -m benchmarks.compression path/to/BCCD --seeds 5

The chain is the pipeline itself, run by DVC in a clone of the last commit: a student with ReLU that begins with its
teacher's weights and learns from it, lightly pruned, in INT8. The controls: the student with SiLU, trained on labels
alone, from scratch and from its teacher's weights, and distilled; as many epochs from scratch as teacher and student
have together; a lower resolution; ultralytics and NNCF on the same weights. Each is compared with the teacher
in the runtime that it runs in itself. Trained networks are kept in .cache/benchmarks, so an interrupted run goes on.
Writes reports/benchmarks/compression.md and .png.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from hydra import compose, initialize_config_dir
from tqdm import tqdm

from benchmarks.photographs import bccd_folder, cloned, kept_folder, run_stage
from benchmarks.rivals import (
    HAS_MODELOPT,
    HAS_NNCF,
    in_openvino,
    ultralytics_int8,
    ultralytics_qat,
)
from benchmarks.speed import SETTING
from src import PROJECT
from src.config.composition import register, typed
from src.config.quantize import Quantize
from src.deployment.export import export_onnx
from src.deployment.forwards import onnx_forward, openvino_forward
from src.deployment.images import choose_images, load_image
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.evaluation.latency import Latency, measure
from src.evaluation.machine import describe_machine
from src.foundation.atomic import whole_folder, write_text
from src.quantization.fp16 import to_fp16
from src.quantization.int8 import quantize_network
from src.quantization.ranges.calibrators import calibrate_tensors
from src.reporting.accuracy_plots import draw_pareto

PAGE = PROJECT / "reports/benchmarks/compression.md"
PICTURE = PAGE.with_suffix(".png")
STAGES = ("prepare_labels", "train_teacher", "distill", "prune", "calibrate", "quantize")
"""The stages that make the kept networks."""

IMGSZ, LOWER_IMGSZ = 320, 224
EPOCHS = {"train_teacher": 40, "distill": 40, "prune": 15}
SETTINGS = {
    "choices.data": "bccd",
    "choices.augmentation": "objects",
    "choices.student": "yolov8n_relu",
    "common.imgsz": IMGSZ,
    "prune.ratio": 0.15,
    "prune.round_to": 16,
    **{f"{stage}.cache": "always" for stage in ("distill", "prune", "quantize")},
    **{f"{stage}.epochs": epochs for stage, epochs in EPOCHS.items()},
}
CALIBRATION_IMAGES, ROUNDS, MIB = 128, 100, 2**20
TEACHER, UNPRUNED = "teacher yolov8s, FP32", "chain before pruning, FP32"
PRUNED, LAST = "chain, FP32", "chain, INT8"
IN_OPENVINO = ", in OpenVINO"


@dataclass(frozen=True)
class Control:
    """A student with SiLU that is trained beside the chain.

    Attributes:
        title: of its rows.
        overrides: of the stage's configuration.
        imgsz: px, side of its square input.
    """

    title: str
    overrides: tuple[str, ...]
    imgsz: int = IMGSZ


FROM_SCRATCH = ("teaching=hard", "student.weights=null")
LONGER = f"epochs={EPOCHS['train_teacher'] + EPOCHS['distill']}"
CONTROLS = {
    "plain": Control("yolov8n, labels alone", FROM_SCRATCH),
    "longer": Control("yolov8n, labels alone, the teacher's epochs besides", (*FROM_SCRATCH, LONGER)),
    "lower": Control(f"yolov8n, labels alone, {LOWER_IMGSZ} px", FROM_SCRATCH, LOWER_IMGSZ),
    "begun": Control("yolov8n, teacher's weights, labels alone", ("teaching=hard",)),
    "distilled": Control("yolov8n, teacher's weights, distilled", ()),
}
"""By the name of the folder that keeps each."""


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        title: its name.
        network: its file.
        imgsz: px, side of its square input.
        of: the title of the float network that it was made of; None for a float one.
    """

    title: str
    network: Path
    imgsz: int
    of: str | None = None

    @property
    def weights(self) -> Path:
        """The file that holds its weights."""
        return next(self.network.glob("*.bin")) if self.network.is_dir() else self.network

    def forward(self, image: Any) -> Callable[[], object]:
        """Return a call that runs it on one thread."""
        if self.network.is_dir():
            return openvino_forward(next(self.network.glob("*.xml")), image, threads=1)
        return onnx_forward(self.network, image, threads=1)


def main() -> None:
    """Train what is missing, measure all and write the page."""
    parser = argparse.ArgumentParser(description="The chain from teacher to INT8, over seeds, beside its controls.")
    parser.add_argument("bccd", type=bccd_folder, help="the folder that holds BCCD's Annotations and JPEGImages")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    kept = kept_folder("compression", STAGES, SETTINGS, LOWER_IMGSZ, arguments.bccd)
    project = cloned(kept / "project")
    for seed in tqdm(range(arguments.seeds), desc="seeds"):
        train_seed(project, kept / f"seed-{seed}", arguments.bccd, seed)
    prepared = project / "data/prepared"
    images = choose_images(prepared / "images/train", CALIBRATION_IMAGES, seed=0)
    teacher = _exported(project / "models/teacher.pt", kept / "teacher", IMGSZ)
    teachers = [Variant(TEACHER, teacher, IMGSZ)]
    if HAS_NNCF:
        teachers.append(Variant(TEACHER + IN_OPENVINO, in_openvino(teacher), IMGSZ))
    variants = {
        seed: [*teachers, *variants_of(kept / f"seed-{seed}", images, prepared, seed)]
        for seed in range(arguments.seeds)
    }
    accuracies = _accuracies(variants, prepared)
    latencies = _latencies(variants[0], images[0])
    write_text(PAGE, page(variants[0], accuracies, latencies))
    _draw(variants[0], accuracies, latencies)


def train_seed(project: Path, folder: Path, bccd: Path, seed: int) -> None:
    """Train what one seed needs: the chain, by DVC; more epochs with and without rounding; the plain students."""
    chain = {**SETTINGS, "data.root": bccd, "distill.seed": seed, "prune.seed": seed, "quantize.seed": seed}
    if not (folder / "chain").exists():
        command = [sys.executable, "-m", "dvc", "exp", "run"]
        for key, value in chain.items():
            command += ["-S", f"{key}={value}"]
        subprocess.run([*command, "quantize"], cwd=project, check=True)
        with whole_folder(folder / "chain") as copied:
            for name in ("student.pt", "pruned.pt", "pruned.onnx", "int8.onnx"):
                shutil.copy(project / "models" / name, copied / name)
    settings = {"openvino": "target=openvino", "qat": "method=qat", "tuned": "method=tuned"}
    for name, setting in settings.items():  # they read the chain's outputs, so they go before the next seed
        if not (folder / f"{name}/models/int8.onnx").exists():
            run_stage(project, "quantize", setting, f"hydra.run.dir={folder}/{name}")
    for name, control in CONTROLS.items():
        if not (folder / f"{name}/models/student.pt").exists():
            given = ("student=yolov8n", f"seed={seed}", f"imgsz={control.imgsz}", *control.overrides)
            run_stage(project, "distill", *given, f"hydra.run.dir={folder}/{name}")


def variants_of(folder: Path, images: list[Path], prepared: Path, seed: int) -> list[Variant]:
    """Return the rows of one seed."""
    chain = folder / "chain"
    found = []
    for name, control in CONTROLS.items():
        network = _exported(folder / name / "models/student.pt", folder / name, control.imgsz)
        found += _with_int8(control.title, network, control.imgsz, images)
    student, pruned, half = _exported(chain / "student.pt", chain, IMGSZ), chain / "pruned.onnx", chain / "half.onnx"
    onnx.save(to_fp16(onnx.load(pruned)), half)
    found += [
        Variant(UNPRUNED, student, IMGSZ),
        Variant(PRUNED, pruned, IMGSZ),
        Variant("chain, FP16", half, IMGSZ, PRUNED),
        Variant(LAST, chain / "int8.onnx", IMGSZ, PRUNED),
        Variant("chain, INT8 by QAT", folder / "qat/models/int8.onnx", IMGSZ, PRUNED),
        Variant("chain, tuned as long in float, INT8", folder / "tuned/models/int8.onnx", IMGSZ, PRUNED),
        Variant(
            "chain, INT8 by ultralytics' export",
            ultralytics_int8(chain / "pruned.pt", images, IMGSZ, "onnx"),
            IMGSZ,
            PRUNED,
        ),
    ]
    if HAS_MODELOPT:
        learned = ultralytics_qat(chain / "pruned.pt", prepared, _qat_settings(seed), folder / "ultralytics-qat")
        found.append(Variant("chain, INT8 by ultralytics' QAT", learned, IMGSZ, PRUNED))
    if HAS_NNCF:
        integers = in_openvino(folder / "openvino/models/int8.onnx")
        nncf = ultralytics_int8(chain / "pruned.pt", images, IMGSZ, "openvino")
        found += [
            Variant(LAST + IN_OPENVINO, integers, IMGSZ, PRUNED),
            Variant("chain, INT8 by NNCF" + IN_OPENVINO, nncf, IMGSZ, PRUNED),
        ]
    return found


def _qat_settings(seed: int) -> dict[str, Any]:
    """Return the settings of the chain's own quantization-aware training, for ultralytics' trainer."""
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        composed = compose(
            "quantize", [f"seed={seed}", f"imgsz={IMGSZ}", f"augmentation={SETTINGS['choices.augmentation']}"]
        )
    params: Quantize = typed("quantize", composed)
    return params.trainer_arguments()


def _with_int8(title: str, network: Path, imgsz: int, images: list[Path]) -> list[Variant]:
    """Return a float network and what post-training quantization makes of it."""
    model = onnx.load(network)
    seen = calibrate_tensors(model, images, imgsz, {"momentum": 0.95, "percentile": 99.999}, bins=128, threads=1)
    ranges = {name: tensor.ranges["minmax"] for name, tensor in seen.items()}
    integers = network.with_name(f"{network.stem}-int8.onnx")
    onnx.save(quantize_network(model, ranges, SETTING), integers)
    return [
        Variant(f"{title}, FP32", network, imgsz),
        Variant(f"{title}, INT8", integers, imgsz, f"{title}, FP32"),
    ]


def _exported(weights: Path, folder: Path, imgsz: int) -> Path:
    network = folder / f"{weights.stem}.onnx"
    folder.mkdir(exist_ok=True)
    export_onnx(weights, network, imgsz)
    return network


def _accuracies(variants: dict[int, list[Variant]], prepared: Path) -> dict[str, list[float]]:
    """Return mAP50-95 on test by title, a value per network: the teacher has one, others one per seed."""
    device = runtime.settle("cpu", 1)
    found: dict[str, list[float]] = {}
    measured: set[Path] = set()
    with view_of(prepared) as data:
        for variant in tqdm([variant for one in variants.values() for variant in one], desc="accuracy"):
            if variant.network in measured:
                continue
            measured.add(variant.network)
            accuracy = validate(variant.network, data, split="test", imgsz=variant.imgsz, device=device)
            found.setdefault(variant.title, []).append(accuracy.map50_95)
    return found


def _latencies(variants: list[Variant], image: Path) -> dict[str, Latency]:
    forwards = {variant.title: variant.forward(load_image(image, variant.imgsz)) for variant in variants}
    return measure(forwards, ROUNDS)


def page(variants: list[Variant], accuracies: dict[str, list[float]], latencies: dict[str, Latency]) -> str:
    """Return the benchmark's page."""
    machine = describe_machine()
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    by_title = {variant.title: variant for variant in variants}
    size = by_title[TEACHER].weights.stat().st_size / by_title[LAST].weights.stat().st_size
    reached = [
        f"{speedup:.2f} times as fast as the teacher at {100 * share:.1f}% of its mAP50-95"
        + (IN_OPENVINO if IN_OPENVINO in last else ", both in onnxruntime")
        for last in (LAST, LAST + IN_OPENVINO)
        if last in by_title
        for speedup, share in [_beside_teacher(last, accuracies, latencies)]
    ]
    lines = [
        "# From teacher to INT8 on real photographs",
        "",
        f"BCCD, its own split (205 / 87 / 72 images), {IMGSZ} px: {EPOCHS['train_teacher']} epochs for the teacher, "
        f"from scratch (one seed), {EPOCHS['distill']} for every student, {EPOCHS['prune']} more after pruning "
        f"{SETTINGS['prune.ratio']:.0%} of the channels. The chain has ReLU, the others SiLU. mAP50-95 on test, "
        f"percent: mean over {len(accuracies[LAST])} seeds and standard deviation; against its own float network seed "
        "by seed. "
        f"Latency: one image, 1 thread, seed 0's file, median of {ROUNDS} interleaved rounds, {machine['cpu']} "
        f"({', '.join(machine['flags'])}); {versions}. Post-training quantization takes min-max ranges of "
        f"{CALIBRATION_IMAGES} training images.",
        "",
        "`make bench-compression BCCD=...`",
        "",
        f"The chain's INT8 file is {size:.1f} times smaller than the teacher's, and {'; '.join(reached)}.",
        "",
        "| network | mAP50-95 | against its FP32 | of the teacher's | p50 ms | times teacher's speed | MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant in variants:
        found = accuracies[variant.title]
        speedup, share = _beside_teacher(variant.title, accuracies, latencies)
        against = ""
        if variant.of:
            against = _spread([a - b for a, b in zip(found, accuracies[variant.of], strict=True)], sign="+")
        lines.append(
            f"| {variant.title} | {_spread(found)} | {against} | "
            f"{100 * share:.1f}% | {latencies[variant.title].p50_ms:.2f} | {speedup:.2f} | "
            f"{variant.weights.stat().st_size / MIB:.2f} |"
        )
    lines += ["", f"![mAP50-95 over latency, size as the dot's area]({PICTURE.name})"]
    if not HAS_NNCF:
        lines += ["", "OpenVINO and NNCF were not installed, so their rows are missing."]
    if not HAS_MODELOPT:
        lines += ["", "nvidia-modelopt was not installed, so the row of ultralytics' QAT is missing."]
    return "\n".join(lines) + "\n"


def _beside_teacher(
    title: str, accuracies: dict[str, list[float]], latencies: dict[str, Latency]
) -> tuple[float, float]:
    """Return how many times as fast as the teacher in the same runtime a network is, and its share of that's mAP."""
    teacher = TEACHER + IN_OPENVINO if title.endswith(IN_OPENVINO) else TEACHER
    speedup = latencies[teacher].p50_ms / latencies[title].p50_ms
    return speedup, statistics.mean(accuracies[title]) / accuracies[teacher][0]


def _spread(values: list[float], sign: str = "") -> str:
    mean = f"{100 * statistics.mean(values):{sign}.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def _draw(variants: list[Variant], accuracies: dict[str, list[float]], latencies: dict[str, Latency]) -> None:
    points = {
        one.title: (
            latencies[one.title].p50_ms,
            statistics.mean(accuracies[one.title]),
            one.weights.stat().st_size / MIB,
        )
        for one in variants
    }
    chains = [[TEACHER, UNPRUNED, PRUNED, LAST], [TEACHER + IN_OPENVINO, LAST + IN_OPENVINO]]
    title = "BCCD, one image, 1 thread. Area: size of the file"
    draw_pareto(points, [[name for name in chain if name in points] for chain in chains], title, PICTURE)


if __name__ == "__main__":
    main()
