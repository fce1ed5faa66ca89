"""Untrained candidates as INT8 files: their latency and their size are those of the trained ones.

Each passes through the steps of the pipeline with random weights: prune, export, calibrate, quantize. Two images are
enough to find ranges that mean nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from src.config.calibrate import Calibrate
from src.config.distill import Distill
from src.config.prune import Prune
from src.config.quantize import Quantize
from src.deployment.equalization import equalize
from src.deployment.export import export_onnx
from src.deployment.graph import learned_convolutions
from src.deployment.images import choose_images, load_image
from src.detector.checkpoint import find_architecture, save_detector
from src.detector.complexity import complexity
from src.detector.trainer import ACTIVATIONS
from src.foundation.atomic import whole_file
from src.pruning.pruner import Pruner
from src.quantization.int8 import quantize_network
from src.quantization.ranges.minmax import minmax_range
from src.quantization.ranges.observation import observe
from src.quantization.setting import Setting

IMAGES = 2


@dataclass(frozen=True)
class Recipe:
    """The settings with which the pipeline makes a network."""

    distill: Distill
    prune: Prune
    calibrate: Calibrate


@dataclass(frozen=True)
class Arithmetic:
    """Floating point operations of one image, GFLOPs, before and after pruning."""

    student_gflops: float
    pruned_gflops: float


def write_untrained(
    recipe: Recipe, quantize: dict[Path, Quantize], class_names: Sequence[str], train: Path
) -> Arithmetic:
    """Write an untrained network in INT8 for each of several settings of quantize, and return its arithmetic.

    Args:
        recipe: of the network.
        quantize: the settings for each file.
        class_names: of the dataset.
        train: folder of the training images.

    Raises:
        UserError: the architecture cannot be built, pruned, exported or quantized.
    """
    with _without_messages():
        return _written(recipe, quantize, class_names, train)


def _written(recipe: Recipe, quantize: dict[Path, Quantize], class_names: Sequence[str], train: Path) -> Arithmetic:
    calibrate = recipe.calibrate
    student = _network(recipe.distill, class_names)
    pruned = _pruned(student, recipe.prune)
    images = choose_images(train, IMAGES, calibrate.seed)
    with TemporaryDirectory(prefix="untrained-") as scratch:
        weights, exported = Path(scratch) / "pruned.pt", Path(scratch) / "pruned.onnx"
        save_detector(pruned, weights, calibrate.imgsz)
        export_onnx(weights, exported, calibrate.imgsz)
        model = onnx.load(exported)
    if calibrate.equalize:
        model = equalize(model)
    read = partial(load_image, imgsz=calibrate.imgsz)
    threads = calibrate.cpu_threads
    seen = observe(model, images, read, bins=calibrate.bins, threads=threads, on_image=lambda: None)
    ranges = {name: minmax_range(one.histogram) for name, one in seen.items()}
    for path, params in quantize.items():
        setting = Setting(**{item.name: getattr(params, item.name) for item in fields(Setting)})
        in_float = learned_convolutions(model)[: setting.float_layers]  # which ones is not known before training
        with whole_file(path) as partial_file:
            onnx.save(quantize_network(model, ranges, setting, in_float=in_float), partial_file)
    imgsz = calibrate.imgsz
    return Arithmetic(complexity(student, imgsz).gflops, complexity(pruned, imgsz).gflops)


@contextmanager
def _without_messages() -> Iterator[None]:
    """Leave out the messages of ultralytics and onnxruntime during the block: there would be pages of them."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _network(distill: Distill, class_names: Sequence[str]) -> DetectionModel:
    student = distill.student
    description = yaml_model_load(find_architecture(student.architecture))
    if student.activation is not None:
        description["activation"] = ACTIVATIONS[student.activation]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DetectionModel(description, nc=len(class_names), verbose=False)
    network.names = dict(enumerate(class_names))
    return network


def _pruned(student: DetectionModel, prune: Prune) -> DetectionModel:
    # By magnitude, whatever the settings are: it needs no data, and as many channels remain.
    pruner = Pruner(prune.method, "magnitude", prune.round_to, prune.imgsz, lambda network: None)
    return pruner.pruned(student, student, prune.ratio)
