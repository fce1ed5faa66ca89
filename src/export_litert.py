"""Export the pruned student to INT8 TFLite, for LiteRT on phones and boards; by hand, no stage of the pipeline.

Reads models/pruned.pt, models/pruned.onnx and models/calibration.json (which images of train calibrate saw) and
data/prepared (these, and val to score the result). Writes models/int8.tflite and reports/export_litert.json.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from src.config import ExportLitert
from src.deployment.export import export_tflite
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.detector.runtime import settle
from src.foundation.digests import digest
from src.quantization.calibration import read_calibration
from src.quantization.images import load_image
from src.quantization.litert import count_tflite_convolutions, expect_litert, quantize_tflite
from src.workflow import stage
from src.workflow.tracking import Run

MIB = 2**20


def run(params: ExportLitert, place: stage.Place, log: Run) -> dict[str, Any]:
    """Export, quantize, and return how accurate on val and how large the result is."""
    expect_litert()
    device = settle(params.device, params.threads)
    prepared = place.read("data/prepared")
    calibration = read_calibration(
        place.read("models/calibration.json"), place.read("models/pruned.onnx"), params.imgsz
    )
    train = prepared / "images/train"
    network = place.write("models/int8.tflite")
    with tempfile.TemporaryDirectory(prefix="litert-") as scratch:
        in_float = export_tflite(place.read("models/pruned.pt"), Path(scratch), params.imgsz)
        images = [load_image(train / name, params.imgsz) for name in tqdm(calibration.images, desc="images")]
        quantize_tflite(in_float, network, images, threads=params.threads)
        float_size = in_float.stat().st_size
    with view_of(prepared) as data:
        accuracy = validate(network, data, split="val", imgsz=params.imgsz, device=device)
    convolutions = count_tflite_convolutions(network)
    log.artifact(network, folder="model")
    log.dataset("prepared", digest(prepared), "data/prepared", {"images": len(images)})
    return {
        "val": asdict(accuracy),
        "size_mib": round(network.stat().st_size / MIB, 4),
        "fp32_size_mib": round(float_size / MIB, 4),
        "integer_convolutions": convolutions.integer,
        "convolutions": convolutions.integer + convolutions.float,
    }


@hydra.main(version_base="1.3", config_path="../conf", config_name="export_litert")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("export_litert", run, config)


if __name__ == "__main__":
    stage.guard(main)
