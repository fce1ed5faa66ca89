"""Small networks and images that the tests of quantization and evaluation share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from src.deployment.export import export_onnx
from src.detector.checkpoint import save_detector
from src.detector.trainer import ACTIVATIONS
from src.quantization.setting import Setting

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

IMGSZ = 64
REPORTS: dict[str, dict[str, Any]] = {
    "prepare_labels": {
        "classes": {name: {"boxes": {"train": 5, "val": 2, "test": 3}} for name in ("class 0", "class 1")}
    },
    "distill": {"control": {"val": {"map50_95": 0.45}, "best_epoch": 2, "epochs": 3}, "withheld_classes": []},
    "quantize": {"method": "static", "target": "onnxruntime"},
}
"""Facts in the reports of earlier stages, by stage."""

LEVELS = 3
"""Number of levels of a detector's head. The INT8 graph computes DFL's expectation in each."""


def random_images(folder: Path, number: int, seed: int = 0) -> list[Path]:
    """Write smooth random images of several shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    paths = []
    for index in range(number):
        size_wh = tuple(int(side) for side in random.integers(40, 120, 2))
        pixels = cv2.resize(random.integers(0, 256, (6, 6, 3), dtype=np.uint8), size_wh, interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"image_{index}.png")
        cv2.imwrite(str(paths[-1]), pixels)
    return paths


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    """Return the first output of a model in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def untrained_detector(architecture: str, classes: int, path: Path, activation: str | None = None) -> Path:
    """Write a detector of random weights whose activations have ranges like a trained detector's."""
    # Not at the top: src.detector sets ultralytics' environment up first.
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    torch.manual_seed(0)
    built = yaml_model_load(f"{architecture}.yaml")
    if activation:
        built["activation"] = ACTIVATIONS[activation]
    network = DetectionModel(built, nc=classes, verbose=False)
    network.names = {index: f"class {index}" for index in range(classes)}
    # With its initial statistics, batch norm shrinks every activation to nearly zero.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    smooth = torch.nn.functional.interpolate(torch.rand(16, 3, 6, 6), (IMGSZ, IMGSZ), mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        network.train()(smooth)
    save_detector(network, path, IMGSZ)
    return path


def exported_detector(architecture: str, classes: int, folder: Path, activation: str | None = None) -> Path:
    """Write an untrained detector as ONNX."""
    name = f"{architecture}_{classes}_{activation or 'silu'}.pt"
    weights = untrained_detector(architecture, classes, folder / name, activation)
    export_onnx(weights, weights.with_suffix(".onnx"), IMGSZ)
    return weights.with_suffix(".onnx")


def tiny_project(folder: Path) -> Path:
    """Write a prepared dataset of two classes, one network as every model of the pipeline, and earlier reports."""
    prepared = folder / "data" / "prepared"
    for split, number in {"train": 5, "val": 2, "test": 3}.items():
        labels = prepared / "labels" / split
        labels.mkdir(parents=True)
        for image in random_images(prepared / "images" / split, number, seed=number):
            image = image.rename(image.with_name(f"{split}_{image.name}"))
            (labels / f"{image.stem}.txt").write_text("0 0.5 0.5 0.4 0.4\n1 0.3 0.3 0.2 0.2\n")
    (prepared / "data.yaml").write_text("names: {0: class 0, 1: class 1}\n")
    (prepared / "manifest.csv").write_text("path,md5\n")
    (folder / "models/control").mkdir(parents=True)
    teacher = untrained_detector("yolov8n", 2, folder / "models" / "teacher.pt")
    for name in ("student", "pruned", "control/control"):
        shutil.copy(teacher, folder / "models" / f"{name}.pt")
    (folder / "reports").mkdir()
    for stage in ("prepare_labels", "train_teacher", "distill", "prune", "calibrate", "quantize"):
        report = {"val": {"map50_95": 0.5}, "best_epoch": 2, "epochs": 3, "late_gain": 0.01, **REPORTS.get(stage, {})}
        (folder / "reports" / f"{stage}.json").write_text(json.dumps(report))
    (folder / "params.yaml").write_text("calibrate:\n  images: 4\n")
    return folder


class Log:
    """A fake tracking run that stores the recorded calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: self.calls.append((name, (*arguments, *named.values())))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of every call of `name`."""
        return [arguments for called, arguments in self.calls if called == name]


def single_convolution(seed: int = 0) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """Return a network of one 1x1 convolution, (1, 3, 4, 4) to (1, 5, 4, 4), its weights (5, 3) and biases (5,)."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(5, 3)).astype(np.float32)
    biases = random.normal(size=5).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, 4, 4])],
        [numpy_helper.from_array(weights[..., None, None], "w"), numpy_helper.from_array(biases, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), weights, biases
