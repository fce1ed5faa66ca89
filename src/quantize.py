"""Turn the pruned student's ONNX into INT8 with the ranges that calibrate saved; nothing is observed again.

Reads models/pruned.onnx, models/calibration.json and data/prepared (val, to score the result). Writes models/int8.onnx.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import hydra
import onnx
from omegaconf import DictConfig

from src import stage
from src.config import Quantize
from src.detector.accuracy import validate
from src.detector.dataset import view_of
from src.detector.runtime import settle
from src.files import digest, whole_file
from src.quantization.calibration import read_calibration
from src.quantization.images import load_image
from src.quantization.int8 import Int8, quantize_network
from src.quantization.kernels import count_convolutions
from src.tracking import Run

MIB = 2**20


def run(params: Quantize, place: stage.Place, log: Run) -> dict[str, Any]:
    """Quantize, and return how large, how fast in kind and how accurate on val the result is."""
    device = settle(params.device, params.threads)
    float_network = place.read("models/pruned.onnx")
    calibration = read_calibration(place.read("models/calibration.json"), float_network, params.imgsz)
    prepared = place.read("data/prepared")
    how = Int8(
        target=params.target,
        format=params.format,
        activation_type=params.activation_type,
        weight_type=params.weight_type,
        per_channel=params.per_channel,
        symmetric_activations=params.symmetric_activations,
        float_head=params.float_head,
    )
    network = place.write("models/int8.onnx")
    with whole_file(network) as partial:
        onnx.save(quantize_network(onnx.load(float_network), calibration.ranges(params.calibrator), how), partial)
    convolutions = count_convolutions(network)
    with view_of(prepared) as data_yaml:
        accuracy = validate(network, data_yaml, split="val", imgsz=params.imgsz, device=device)
    log.dataset("prepared", digest(prepared), "data/prepared", {"split": "val"})
    log.onnx_model(
        network, load_image(prepared / "images" / "train" / calibration.images[0], params.imgsz), params.register
    )
    return {
        "val": asdict(accuracy),
        "size_mib": round(network.stat().st_size / MIB, 4),
        "fp32_size_mib": round(float_network.stat().st_size / MIB, 4),
        "integer_convolutions": convolutions.integer,
        "convolutions": convolutions.integer + convolutions.float,
    }


@hydra.main(version_base="1.3", config_path="../conf", config_name="quantize")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("quantize", run, config)


if __name__ == "__main__":
    stage.guard(main)
