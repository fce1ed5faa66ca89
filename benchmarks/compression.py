"""What the chain from teacher to INT8 costs and gains on real photographs, over seeds, beside its honest controls.

    make bench-compression BCCD=path/to/BCCD
    python -m benchmarks.compression path/to/BCCD --seeds 5

The chain is the pipeline itself, run by DVC in a clone of the last commit. The controls: the student trained plainly,
the same at a lower resolution, what ultralytics and NNCF make of the same weights, and the distilled student unpruned.
What is trained is kept in .cache/benchmarks, so that an interrupted run goes on. Writes
reports/benchmarks/compression.md and .png.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from tqdm import tqdm

from benchmarks.rivals import HAS_OPENVINO, openvino_forward, ultralytics_int8
from benchmarks.speed import HOW
from src import files
from src.config import PROJECT
from src.detector import runtime
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.detector.export import export_onnx
from src.evaluation.latency import Latency, measure, onnx_forward
from src.evaluation.machine import describe_machine
from src.evaluation.plots import draw_pareto
from src.quantization.calibrators import calibrated
from src.quantization.half import halve
from src.quantization.images import choose_images, load_image
from src.quantization.int8 import quantize_network

PAGE = PROJECT / "reports/benchmarks/compression.md"
PICTURE = PAGE.with_suffix(".png")
CODE = ("src/detector", "src/distillation", "src/pruning", "src/quantization", "src/qat.py", "params.yaml", "conf")
"""What the kept networks depend on, as git knows it."""

IMGSZ, LOWER_IMGSZ = 320, 224
EPOCHS = {"train_teacher": 40, "distill": 40, "prune": 15}
SETTINGS = {
    "choices.data": "bccd",
    "choices.augmentation": "objects",
    "common.imgsz": IMGSZ,
    **{f"{stage}.epochs": epochs for stage, epochs in EPOCHS.items()},
}
CALIBRATION_IMAGES, ROUNDS, MIB = 128, 100, 2**20
TEACHER, PRUNED, LAST = "teacher yolov8s, FP32", "distilled, pruned, FP32", "distilled, pruned, INT8"


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
    parser.add_argument("bccd", type=Path, help="the folder that holds BCCD's Annotations and JPEGImages")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if not (arguments.bccd / "Annotations").is_dir():
        sys.exit("error: name the folder that holds BCCD's Annotations and JPEGImages: make bench-compression BCCD=...")
    kept = _kept(arguments.bccd)
    project = kept / "project"
    if not project.exists():
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(project)], check=True)
    for seed in tqdm(range(arguments.seeds), desc="seeds"):
        train_seed(project, kept / f"seed-{seed}", arguments.bccd.resolve(), seed)
    prepared = project / "data/prepared"
    images = choose_images(prepared / "images/train", CALIBRATION_IMAGES, seed=0)
    teacher = _exported(project / "models/teacher.pt", kept / "teacher", IMGSZ)
    variants = {
        seed: [Variant(TEACHER, teacher, IMGSZ), *variants_of(kept / f"seed-{seed}", images)]
        for seed in range(arguments.seeds)
    }
    accuracies = _accuracies(variants, prepared)
    latencies = _latencies(variants[0], images[0])
    files.write_text(PAGE, page(variants[0], accuracies, latencies))
    _draw(variants[0], accuracies, latencies)


def train_seed(project: Path, folder: Path, bccd: Path, seed: int) -> None:
    """Train what one seed needs: the chain, by DVC; more epochs with and without rounding; the plain students."""
    chain = {**SETTINGS, "data.root": bccd, "distill.seed": seed, "prune.seed": seed, "quantize.seed": seed}
    if not (folder / "chain").exists():
        command = [sys.executable, "-m", "dvc", "exp", "run"]
        for key, value in chain.items():
            command += ["-S", f"{key}={value}"]
        subprocess.run([*command, "quantize"], cwd=project, check=True)
        with files.whole_folder(folder / "chain") as copied:
            for name in ("student.pt", "pruned.pt", "pruned.onnx", "int8.onnx"):
                shutil.copy(project / "models" / name, copied / name)
    for method in ("qat", "tuned"):  # they read the chain's outputs, so they go before the next seed
        if not (folder / f"{method}/models/int8.onnx").exists():
            _by_hand(project, "src.quantize", f"method={method}", f"hydra.run.dir={folder}/{method}")
    plain = ["src.distill", "teaching=hard", f"seed={seed}"]
    if not (folder / "plain/models/student.pt").exists():
        _by_hand(project, *plain, f"hydra.run.dir={folder}/plain")
    if not (folder / "lower/models/student.pt").exists():
        _by_hand(project, *plain, f"imgsz={LOWER_IMGSZ}", f"hydra.run.dir={folder}/lower")


def _by_hand(project: Path, module: str, *overrides: str) -> None:
    subprocess.run([sys.executable, "-m", module, *overrides], cwd=project, check=True)


def variants_of(folder: Path, images: list[Path]) -> list[Variant]:
    """Return the rows of one seed."""
    chain = folder / "chain"
    plain = _exported(folder / "plain/models/student.pt", folder / "plain", IMGSZ)
    lower = _exported(folder / "lower/models/student.pt", folder / "lower", LOWER_IMGSZ)
    student = _exported(chain / "student.pt", chain, IMGSZ)
    pruned = chain / "pruned.onnx"
    half = chain / "half.onnx"
    onnx.save(halve(onnx.load(pruned)), half)
    found = [
        *_with_int8("yolov8n, labels alone", plain, IMGSZ, images),
        *_with_int8(f"yolov8n, labels alone, {LOWER_IMGSZ} px", lower, LOWER_IMGSZ, images),
        *_with_int8("yolov8n, distilled", student, IMGSZ, images),
        Variant(PRUNED, pruned, IMGSZ),
        Variant("distilled, pruned, FP16", half, IMGSZ, PRUNED),
        Variant(LAST, chain / "int8.onnx", IMGSZ, PRUNED),
        *(
            Variant(f"distilled, pruned, {title}", folder / f"{method}/models/int8.onnx", IMGSZ, PRUNED)
            for method, title in {"qat": "INT8 by QAT", "tuned": "tuned as long in float, INT8"}.items()
        ),
    ]
    forms = {"onnx": "INT8 by ultralytics' export"}
    if HAS_OPENVINO:
        forms["openvino"] = "INT8 by NNCF, in OpenVINO"
    for form, title in forms.items():
        shutil.rmtree(chain / f"ultralytics-{form}", ignore_errors=True)
        exported = ultralytics_int8(chain / "pruned.pt", images, IMGSZ, form)
        found.append(Variant(f"distilled, pruned, {title}", exported, IMGSZ, PRUNED))
    return found


def _with_int8(title: str, network: Path, imgsz: int, images: list[Path]) -> list[Variant]:
    """Return a float network and what post-training quantization makes of it."""
    model = onnx.load(network)
    seen = calibrated(model, images, imgsz, {"momentum": 0.95, "percentile": 99.999}, bins=128, threads=1)
    ranges = {name: tensor.ranges["minmax"] for name, tensor in seen.items()}
    integers = network.with_name(f"{network.stem}-int8.onnx")
    onnx.save(quantize_network(model, ranges, HOW), integers)
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
    """Return mAP50-95 on test by title, a value per seed; the teacher has one."""
    device = runtime.settle("cpu", 1)
    found: dict[str, list[float]] = {}
    with view_of(prepared) as data:
        for variant in tqdm([variant for one in variants.values() for variant in one], desc="accuracy"):
            if variant.title == TEACHER and TEACHER in found:
                continue
            accuracy = validate(variant.network, data, split="test", imgsz=variant.imgsz, device=device)
            found.setdefault(variant.title, []).append(accuracy.map50_95)
    return found


def _latencies(variants: list[Variant], image: Path) -> dict[str, Latency]:
    forwards = {variant.title: variant.forward(load_image(image, variant.imgsz)) for variant in variants}
    return measure(forwards, ROUNDS)


def _kept(bccd: Path) -> Path:
    """Return the folder where networks of this code, data and budget are kept."""
    trees = subprocess.run(
        ["git", "rev-parse", *(f"HEAD:{path}" for path in CODE)], cwd=PROJECT, check=True, capture_output=True
    )
    key = hashlib.sha256(f"{trees.stdout.decode()} {SETTINGS} {LOWER_IMGSZ} {bccd.resolve()}".encode()).hexdigest()
    folder = PROJECT / f".cache/benchmarks/compression-{key[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def page(variants: list[Variant], accuracies: dict[str, list[float]], latencies: dict[str, Latency]) -> str:
    """Return the benchmark's page."""
    machine = describe_machine()
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    teacher = variants[0]
    faster = latencies[teacher.title].p50_ms / latencies[LAST].p50_ms
    share = statistics.mean(accuracies[LAST]) / accuracies[TEACHER][0]
    size = teacher.weights.stat().st_size / next(one for one in variants if one.title == LAST).weights.stat().st_size
    lines = [
        "# From teacher to INT8 on real photographs",
        "",
        f"BCCD, its own split (205 / 87 / 72 images), {IMGSZ} px, all from scratch: {EPOCHS['distill']} epochs for the "
        f"teacher (one seed) and for every student, {EPOCHS['prune']} more after pruning. mAP50-95 on test, percent: "
        f"mean over {len(accuracies[LAST])} seeds and standard deviation; against its own float network seed by seed. "
        f"Latency: one image, 1 thread, seed 0's file, median of {ROUNDS} interleaved rounds, {machine['cpu']} "
        f"({', '.join(machine['flags'])}); {versions}. Post-training quantization takes min-max ranges of "
        f"{CALIBRATION_IMAGES} training images.",
        "",
        "`make bench-compression BCCD=...`",
        "",
        f"The last link of the chain ({LAST}) is {faster:.2f} times as fast as the teacher and {size:.1f} times "
        f"smaller, at {100 * share:.1f}% of its mAP50-95.",
        "",
        "| network | mAP50-95 | against its FP32 | of the teacher's | p50 ms | times teacher's speed | MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for variant in variants:
        found = accuracies[variant.title]
        latency = latencies[variant.title].p50_ms
        against = ""
        if variant.of:
            against = _spread([a - b for a, b in zip(found, accuracies[variant.of], strict=True)], sign="+")
        lines.append(
            f"| {variant.title} | {_spread(found)} | {against} | "
            f"{100 * statistics.mean(found) / accuracies[TEACHER][0]:.1f}% | {latency:.2f} | "
            f"{latencies[TEACHER].p50_ms / latency:.2f} | {variant.weights.stat().st_size / MIB:.2f} |"
        )
    lines += ["", f"![mAP50-95 over latency, size as the dot's area]({PICTURE.name})"]
    if not HAS_OPENVINO:
        lines += ["", "OpenVINO and NNCF were not installed, so their row is missing."]
    return "\n".join(lines) + "\n"


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
    with files.whole_file(PICTURE) as partial:
        draw_pareto(points, "BCCD, one image, 1 thread; area: size of the file", partial)


if __name__ == "__main__":
    main()
