"""Other tools on the same weights and images: ultralytics' own INT8 exports and QAT, and NNCF's."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from src.detector.checkpoint import load_detector
from src.detector.dataset import view_of

HAS_NNCF = all(importlib.util.find_spec(name) for name in ("openvino", "nncf"))
HAS_MODELOPT = all(importlib.util.find_spec(name) for name in ("modelopt", "huggingface_hub"))


def in_openvino(network: Path) -> Path:
    """Return the folder of an ONNX file in OpenVINO's own form, as ultralytics loads it."""
    import openvino

    folder = network.with_name(f"{network.stem}_openvino_model")
    folder.mkdir(exist_ok=True)
    openvino.save_model(openvino.Core().read_model(network), folder / f"{network.stem}.xml", compress_to_fp16=False)
    metadata = {entry.key: entry.value for entry in onnx.load(network).metadata_props}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return folder


def ultralytics_int8(weights: Path, images: list[Path], imgsz: int, form: str) -> Path:
    """Return what ultralytics' own INT8 export makes, calibrated on the same images.

    Args:
        weights: a .pt file.
        images: to calibrate on.
        imgsz: px, side of the square input.
        form: onnx, or openvino, for which it uses NNCF.
    """
    folder = weights.parent / f"ultralytics-{form}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for image in images:
        (folder / "images" / image.name).symlink_to(image.resolve())
    description = {"path": str(folder), "train": "images", "val": "images", "names": YOLO(weights).names}
    (folder / "data.yaml").write_text(yaml.safe_dump(description))
    copy = folder / "ultralytics.pt"
    copy.write_bytes(weights.read_bytes())
    options = {"quantize": 8, "data": str(folder / "data.yaml"), "imgsz": imgsz, "verbose": False}
    return Path(YOLO(copy).export(format=form, **options))


def ultralytics_qat(weights: Path, prepared: Path, settings: Mapping[str, Any], folder: Path) -> Path:
    """Train a detector by ultralytics' own quantization-aware training, and return the INT8 file of its best epoch.

    The network is handed to the trainer as it is: built from its YAML it would get its pruned channels back.

    Args:
        weights: a .pt file.
        prepared: the folder that prepare-labels wrote.
        settings: trainer arguments under ultralytics' names.
        folder: where the training is kept; if its INT8 file is there, it is returned.
    """
    integers = folder / "training/weights/best.onnx"
    if integers.exists():
        return integers
    network = load_detector(weights)
    for parameter in network.parameters():
        parameter.requires_grad = True
    with view_of(prepared) as data:
        own = {
            "task": "detect",
            "model": "yolov8n.yaml",  # the trainer wants the name of some; it is not built
            "data": str(data),
            "device": "cpu",
            "amp": False,
            "plots": False,
            "nbs": settings["batch"],
            "cos_lr": True,
        }
        kept = {"project": str(folder), "name": "training", "exist_ok": True}
        trainer = DetectionTrainer(overrides={**settings, **own, **kept, "quantize": 8})
        trainer.model = network
        trainer.train()
    YOLO(integers.with_suffix(".pt")).export(format="onnx", imgsz=settings["imgsz"], quantize=8, verbose=False)
    return integers


def nncf_int8(in_float: Path, images: list[np.ndarray]) -> Path:
    """Return the file of NNCF's INT8 model, calibrated on the same images."""
    import nncf
    import openvino

    model = nncf.quantize(openvino.Core().read_model(in_float), nncf.Dataset(images), subset_size=len(images))
    network = in_float.with_name("nncf.xml")
    openvino.save_model(model, network)
    return network
