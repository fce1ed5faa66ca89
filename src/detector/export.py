"""Export to ONNX by ultralytics, without the date that it would put into the file."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import onnx
from ultralytics import YOLO

from src import files


def export_onnx(weights: Path, target: Path, imgsz: int) -> None:
    """Write the detector as ONNX: float32, batch 1, a square of `imgsz` px, class names and stride in its metadata.

    Input `images` (1, 3, imgsz, imgsz) in [0, 1], RGB; output `output0` (1, 4 + classes, places): box centre, width and
    height in px, then a score in [0, 1] per class.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as scratch:
        # ultralytics writes beside the weights.
        copy = Path(shutil.copy(weights, Path(scratch) / "detector.pt"))
        exported = YOLO(copy).export(format="onnx", imgsz=imgsz, batch=1, simplify=True, device="cpu", verbose=False)
        model = onnx.load(exported)
    kept = [entry for entry in model.metadata_props if entry.key != "date"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    with files.whole_file(target) as partial:
        onnx.save(model, partial)
