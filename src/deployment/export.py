"""Export to ONNX and TFLite with ultralytics.

YOLO26 has two heads. The dense one (`one2many`) finds an object at several locations and needs non-maximum suppression;
the end-to-end one (`one2one`) finds it once. The dense one is deployed, as ultralytics' exporter does by default. All
stages validate and time it:

- It alone teaches the backbone: ultralytics detaches the features that the other one reads.
- The other one ends in a TopK whose output has px, scores and numbers of classes in one tensor. No grid of 8 bits holds
  these, and ultralytics' exporter leaves this head out for rknn, ncnn and INT8 TFLite.
- So the files of all families are read in one way, in Python, C++ and the browser. Suppression of the few boxes above
  the threshold is a part of `reading` in the times of `python -m src.predict`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from ultralytics import YOLO

from src.detector.checkpoint import load_detector
from src.detector.strides import expect_multiple_of_stride
from src.foundation.atomic import whole_file
from src.foundation.errors import OutdatedError, SettingError
from src.foundation.image_size import ImageSize, as_setting, height_width


def export_onnx(weights: Path, target: Path, imgsz: ImageSize) -> None:
    """Write the detector as ONNX: float32, batch 1, images of `imgsz` px, class names and stride in its metadata.

    Input `images` (1, 3, height, width) in [0, 1], RGB; output `output0` (1, 4 + classes, locations): box centre, width
    and height in px, then a score in [0, 1] per class. ultralytics' export date is removed, so that the same weights
    give the same bytes.

    Raises:
        UserError: `weights` is not a detector that can be read.
        SettingError: a side of `imgsz` is not a multiple of its coarsest stride.
    """
    # Checked first: ultralytics' own errors would name the copy in a temporary folder.
    expect_multiple_of_stride(imgsz, load_detector(weights))
    with tempfile.TemporaryDirectory(prefix="export-") as scratch:
        model = onnx.load(_exported(weights, Path(scratch), format="onnx", imgsz=height_width(imgsz), simplify=True))
    kept = [entry for entry in model.metadata_props if entry.key != "date"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    with whole_file(target) as partial:
        onnx.save(model, partial)


def expect_size(network: Path, imgsz: ImageSize) -> None:
    """Check that an ONNX file was exported for images of `imgsz` px.

    Raises:
        SettingError: it was exported for another size.
        OutdatedError: it cannot be read.
    """
    try:
        model = onnx.load(network, load_external_data=False)
        *_, height, width = (of.dim_value for of in model.graph.input[0].type.tensor_type.shape.dim)
    except (DecodeError, IndexError, ValueError) as error:
        raise OutdatedError(network, "not a network in ONNX") from error
    if (height, width) != height_width(imgsz):
        exported, got = as_setting((height, width)), as_setting(imgsz)
        raise SettingError("imgsz", f"must be {exported}, as {network.name} was exported for it, got {got}")


def export_tflite(weights: Path, scratch: Path, imgsz: ImageSize) -> Path:
    """Export the detector to TFLite, float32, and return the file, in the folder `scratch`. Needs litert-torch.

    Input and output are the same as in `export_onnx`, but boxes are fractions of width and height. ultralytics'
    metadata, with a date, is in a ZIP archive at the end of the file.
    """
    return _exported(weights, scratch, format="litert", imgsz=height_width(imgsz))


def _exported(weights: Path, scratch: Path, **settings: Any) -> Path:
    # ultralytics writes the export beside the weights.
    copy = Path(shutil.copy(weights, scratch / "detector.pt"))
    return Path(YOLO(copy).export(batch=1, device="cpu", verbose=False, **settings))
