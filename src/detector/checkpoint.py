"""Detectors as .pt files that contain only the detector; `ultralytics.YOLO(path)` loads them."""

from __future__ import annotations

import hashlib
import io
import json
import re
from copy import deepcopy
from pathlib import Path

import torch
import ultralytics
from torch import nn
from ultralytics.nn.tasks import DetectionModel, torch_safe_load, yaml_model_load
from ultralytics.utils import DEFAULT_CFG_DICT

from src.foundation.atomic import whole_file
from src.foundation.errors import UserError
from src.foundation.image_size import ImageSize, as_setting

ARCHITECTURES = Path(ultralytics.__file__).parent / "cfg" / "models"
HEADS = ("Detect", "v10Detect")
"""The names that the last module in a detector's YAML can have."""

ACTIVATION = re.compile(r"(torch\.)?nn\.[A-Za-z]\w*\([\w.=, -]*\)")
"""An activation in a YAML: a module of torch with literal arguments.

ULTRALYTICS_SAFE_LOAD (src/__init__.py) makes ultralytics refuse others, and evaluate none as Python.
"""

_UNKNOWN_CLASS = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")
"""In a message of `torch.load(weights_only=True)`."""


def save_detector(network: nn.Module, path: Path, imgsz: ImageSize) -> None:
    """Write `network` to `path` in half precision, as ultralytics does, in its checkpoint format.

    ultralytics' own best.pt contains the date, the trainer's paths and the git branch, so its bytes differ from run to
    run. Here the same weights give the same file.

    Args:
        imgsz: the size that it was trained on, px; `YOLO(path)` uses it as its default.
    """
    kept = deepcopy(network).cpu().half().eval()
    for parameter in kept.parameters():
        parameter.requires_grad = False
    arguments = {"task": "detect", "imgsz": as_setting(imgsz)}
    kept.args = dict(arguments)  # type: ignore[assignment]  # a plain attribute; mypy expects a module
    for trace in ("criterion", "pt_path", "optimizer"):
        vars(kept).pop(trace, None)
    for trace in ("anchors", "strides", "shape", "max_det"):  # left by the head's last image, and by the trainer
        vars(kept.model[-1]).pop(trace, None)  # type: ignore[index]
    content = {
        "epoch": -1,
        "model": kept,
        "train_args": arguments,
        "version": ultralytics.__version__,
        "license": "AGPL-3.0",
    }
    # A buffer, not the path: torch names the archive's inner folder after the file that it writes.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole_file(path) as partial:
        partial.write_bytes(buffer.getvalue())


def load_detector(path: Path, *, trust: bool = False) -> DetectionModel:
    """Return the detector of an ultralytics checkpoint: float32, in eval mode, on the CPU.

    A checkpoint is a pickle, which can run code. Unless `trust` is true, only torch's and ultralytics' own classes are
    loaded (`torch.load(weights_only=True)` with ultralytics' list of them).

    Raises:
        UserError: the file does not exist, is not a detector, or needs `trust`.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file: put the weights there, or correct the path (nothing is downloaded)"
        )
    try:
        content, _ = torch_safe_load(str(path), safe_only=not trust)
    except Exception as error:  # the bytes of any file may raise any type: text raises a KeyError
        raise UserError(f"{path}: not a checkpoint that can be loaded safely: {_reason(path, error)}") from error
    network = content.get("ema") or content.get("model")
    # Models of segmentation, poses and others are detection models to Python: they differ in the last module.
    if not isinstance(network, DetectionModel) or type(network.model[-1]).__name__ not in HEADS:
        raise UserError(
            f"{path}: expected an ultralytics detection model, such as yolov8s.pt, found {type(network).__name__}"
        )
    network = network.float().eval()
    network.args = {**DEFAULT_CFG_DICT, **content.get("train_args", {})}
    return network


def find_architecture(name: str) -> str:
    """Return `name` if it is the YAML of a detector: one of ultralytics' own (such as yolov8n.yaml) or a file.

    Raises:
        UserError: it is neither, or describes another task, such as segmentation.
    """
    family = {path.name for path in ARCHITECTURES.rglob("*.yaml")}
    without_scale = {name, *(name.replace(f"{scale}.yaml", ".yaml").replace(f"{scale}-", "-") for scale in "nsmlx")}
    if not (Path(name).is_file() or family & without_scale):
        raise UserError(
            f"architecture {name}: neither a file nor one of ultralytics' own: expected for example yolov8n.yaml "
            "or yolo11n.yaml, or the path of a model YAML"
        )
    try:
        description: object = yaml_model_load(name)
    except Exception as error:  # ultralytics raises many types for a broken file
        raise UserError(f"architecture {name}: not a model YAML ({type(error).__name__}: {error})") from error
    match description:
        case {"head": [*_, [_, _, head, *_]], **others}:
            activation = others.get("activation")
        case _:
            raise UserError(f"architecture {name}: not a model YAML: it has no head whose last row names a module")
    if activation is not None and not ACTIVATION.fullmatch(str(activation)):
        raise UserError(f"architecture {name}: expected an activation such as nn.ReLU(), found {activation!r}")
    if head not in HEADS:
        raise UserError(f"architecture {name}: expected a detector, whose last module is Detect, found {head}")
    return name


def architecture_digest(name: str) -> str:
    """Return the md5 (hex) of the content of an architecture's YAML, as ultralytics reads it.

    Args:
        name: see `find_architecture`, also for the errors.
    """
    found = yaml_model_load(find_architecture(name))
    description = {key: value for key, value in found.items() if key != "yaml_file"}
    return hashlib.md5(json.dumps(description, default=str).encode()).hexdigest()


def _reason(path: Path, error: Exception) -> str:
    """Return why a file cannot be loaded and, where it is known, what to do about it."""
    with path.open("rb") as file:
        beginning = file.read(512).lstrip().lower()
    cause = error.__cause__ or error
    if path.suffix != ".pt":
        return "the name does not end in .pt"
    if not beginning:
        return "it is empty: download or copy it again"
    if beginning.startswith((b"<!doctype html", b"<html")):
        return "it is a web page: download the file itself instead of the page that links to it"
    if beginning.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: run `git lfs pull` where it comes from, and copy it again"
    if "PytorchStreamReader" in str(cause):
        return "it is damaged or incomplete: download or copy it again, and compare its SHA-256 with the source's"
    if unknown := _UNKNOWN_CLASS.search(str(cause)):
        return (
            f"it holds {unknown[1]}, which is no class of torch or ultralytics and may run code; if it is a model "
            "whose source you trust, set trust_weights=true"
        )
    return f"its content is of another kind ({' '.join([type(error).__name__, *str(error).splitlines()[:1]])})"
