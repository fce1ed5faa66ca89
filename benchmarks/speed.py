"""Latency of INT8 variants of one network, all interleaved in one run: onnxruntime and OpenVINO, SiLU and ReLU.

    make bench-speed IMAGES=path/to/images

Weights are random: they do not matter to time. Images set the ranges alone. The extra `bench` of pyproject.toml adds
OpenVINO and NNCF; without them their rows are left out and the page says so. Which variant is the fastest depends on
the processor, so there is a page for each kind, named by what its integer kernels use:
reports/benchmarks/speed-avx512_vnni.md, speed-amx_int8.md.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from tqdm import tqdm
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from benchmarks.rivals import HAS_NNCF, nncf_int8, ultralytics_int8
from src import PROJECT
from src.deployment.export import export_onnx
from src.deployment.forwards import onnx_forward, openvino_forward
from src.deployment.images import choose_images, load_image
from src.deployment.kernels import count_convolutions
from src.detector.checkpoint import save_detector
from src.detector.trainer import ACTIVATIONS
from src.evaluation.latency import Latency, measure
from src.evaluation.machine import describe_machine
from src.foundation.atomic import write_text
from src.quantization.int8 import quantize_network
from src.quantization.ranges.minmax import minmax_range
from src.quantization.ranges.observation import observe
from src.quantization.setting import Setting

PAGES = PROJECT / "reports/benchmarks"
CALIBRATION_IMAGES = 16
ROUNDS = 100
TITLES = {"silu": "SiLU", "relu": "ReLU"}
MIB = 2**20
FP32 = "FP32, onnxruntime"
FOR_OPENVINO = "INT8, QDQ for OpenVINO"
FOR_AMX = "INT8, QDQ for OpenVINO with AMX"
SETTING = Setting(
    calibrator="minmax",
    target="onnxruntime",
    format="qdq",
    activation_type="uint8",
    weight_type="int8",
    per_channel=True,
    symmetric_activations=False,
    symmetric_weights=True,
    float_head=True,
    bias_correction=False,
    float_layers=0,
)


@dataclass(frozen=True)
class Variant:
    """A file and the runtime that runs it."""

    network: Path
    runtime: str  # onnxruntime or openvino

    def forward(self, image: np.ndarray, threads: int) -> Callable[[], object]:
        """Return a call that runs the network on `image`."""
        run = onnx_forward if self.runtime == "onnxruntime" else openvino_forward
        return run(self.network, image, threads)


def build(activation: str, imgsz: int, images: list[Path], folder: Path) -> dict[str, Variant]:
    """Write yolov8n with random weights, in float and in every INT8 variant; return them by name."""
    torch.manual_seed(0)
    architecture = {**yaml_model_load("yolov8n.yaml"), "activation": ACTIVATIONS[activation]}
    weights = folder / "yolov8n.pt"
    save_detector(DetectionModel(architecture, verbose=False), weights, imgsz)
    in_float = folder / "fp32.onnx"
    export_onnx(weights, in_float, imgsz)
    model = onnx.load(in_float)
    load = partial(load_image, imgsz=imgsz)
    seen = observe(model, images, load, bins=16, threads=4, on_image=lambda: None)
    ranges = {name: minmax_range(one.histogram) for name, one in seen.items()}
    variants = {FP32: Variant(in_float, "onnxruntime")}
    for name, setting in {
        "INT8, QDQ": SETTING,
        "INT8, QOperator": replace(SETTING, format="qoperator"),
        FOR_OPENVINO: replace(SETTING, target="openvino"),
        FOR_AMX: replace(SETTING, target="openvino_amx"),
    }.items():
        if name == FOR_AMX and activation != "silu":  # the one for OpenVINO
            continue
        network = folder / f"{name}.onnx"
        onnx.save(quantize_network(model, ranges, setting), network)
        variants[name] = Variant(network, "onnxruntime")
    variants["ultralytics `export(quantize=8)`"] = Variant(
        ultralytics_int8(weights, images, imgsz, "onnx"), "onnxruntime"
    )
    if HAS_NNCF:
        variants["FP32, OpenVINO"] = Variant(in_float, "openvino")
        for name in ("INT8, QDQ", FOR_OPENVINO, FOR_AMX):
            if name in variants:
                variants[f"{name}, OpenVINO"] = Variant(variants[name].network, "openvino")
        variants["INT8 by NNCF, OpenVINO"] = Variant(nncf_int8(in_float, [load(path) for path in images]), "openvino")
    return variants


def rows(variants: dict[str, Variant], latencies: dict[str, Latency]) -> list[dict[str, Any]]:
    """Return what the page shows of each variant."""
    base = latencies[FP32].p50_ms
    size = variants[FP32].network.stat().st_size
    found = []
    for name, variant in variants.items():
        weights = variant.network.with_suffix(".bin") if variant.network.suffix == ".xml" else variant.network
        integer = count_convolutions(variant.network).integer if variant.runtime == "onnxruntime" else None
        found.append(
            {
                "variant": name,
                "p50 ms": f"{latencies[name].p50_ms:.2f}",
                "times FP32's speed": f"{base / latencies[name].p50_ms:.2f}",
                "of FP32's size": f"{weights.stat().st_size / size:.2f}",
                "integer convolutions": "" if integer is None else str(integer),
            }
        )
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [" | ".join(found[0]), " | ".join("---" for _ in found[0]), *(" | ".join(row.values()) for row in found)]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Measure on the images of the folder that the command line names, and write the page."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("error: name a folder of images: make bench-speed IMAGES=...")
    images = choose_images(Path(sys.argv[1]), CALIBRATION_IMAGES, seed=0)
    machine = describe_machine()
    sections = []
    cases = [(activation, imgsz) for activation in TITLES for imgsz in (320, 640)]
    for activation, imgsz in tqdm(cases, desc="measuring", unit="network"):
        with tempfile.TemporaryDirectory(prefix="speed-") as scratch:
            variants = build(activation, imgsz, images, Path(scratch))
            image = load_image(images[0], imgsz)
            for threads in (1, 4):
                forwards = {name: variant.forward(image, threads) for name, variant in variants.items()}
                found = rows(variants, measure(forwards, ROUNDS))
                plural = "s" if threads > 1 else ""
                sections += [f"## {TITLES[activation]}, {imgsz} px, {threads} thread{plural}", table(found)]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    absent = "" if HAS_NNCF else "OpenVINO and NNCF were not installed, so their rows are missing."
    head = [
        "# INT8 speed: yolov8n, random weights",
        "`make bench-speed IMAGES=...`: one forward pass of one image; every variant was timed once, after a pass that "
        f"was not, in each of {ROUNDS} rounds of one process. {machine['cpu']} ({', '.join(machine['flags'])}; "
        f"{machine['cores']} cores). {versions}. {absent}".rstrip(),
    ]
    fastest = (machine["flags"] or [platform.machine()])[-1]
    write_text(PAGES / f"speed-{fastest}.md", "\n\n".join([*head, *sections]) + "\n")


if __name__ == "__main__":
    main()
