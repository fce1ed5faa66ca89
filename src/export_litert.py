"""export_litert: exports the pruned student to INT8 TFLite, for LiteRT on phones and boards. By hand only.

Reads models/pruned.pt, models/pruned.onnx and models/calibration.json (for the training images that calibrate chose)
and data/prepared (these images, and val to score the result). Writes models/int8.tflite and reports/export_litert.json.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("export_litert")

import tempfile
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from src.config.export_litert import ExportLitert
from src.deployment.export import export_tflite
from src.deployment.images import load_image
from src.deployment.litert import count_tflite_convolutions, expect_litert, quantize_tflite
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.detector.runtime import settle
from src.foundation.digests import digest
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, PREPARED, PRUNED
from src.quantization.ranges.calibration import read_calibration
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run

MIB = 2**20


def run(params: ExportLitert, files: StageFiles, log: Run) -> StageResult:
    """Export, quantize, and return the size, the kernels and the accuracy on val of the result."""
    expect_litert()
    device = settle(params.device, params.cpu_threads)
    prepared = files.read(PREPARED)
    calibration = read_calibration(files.read(CALIBRATION), files.read(FLOAT_ONNX), params.imgsz)
    train = prepared / "images/train"
    network = files.write("models/int8.tflite")
    with tempfile.TemporaryDirectory(prefix="litert-") as scratch:
        in_float = export_tflite(files.read(PRUNED), Path(scratch), params.imgsz)
        images = [load_image(train / name, params.imgsz) for name in tqdm(calibration.images, desc="images")]
        quantize_tflite(in_float, network, images, threads=params.cpu_threads)
        float_size = in_float.stat().st_size
    with view_of(prepared) as data:
        accuracy = validate(network, data, split="val", imgsz=params.imgsz, device=device)
    convolutions = count_tflite_convolutions(network)
    log.artifact(network, folder="model")
    log.dataset("prepared", digest(prepared), PREPARED, {"images": len(images)})
    return StageResult(
        {
            "val": asdict(accuracy),
            "size_mib": round(network.stat().st_size / MIB, 4),
            "fp32_size_mib": round(float_size / MIB, 4),
            "integer_convolutions": convolutions.integer,
            "convolutions": convolutions.integer + convolutions.float,
        }
    )
