"""Export the pruned student to ONNX and find the range of every activation on training images.

Reads models/pruned.pt and data/prepared (its training images alone: ranges fitted to validation or test images would
leak into their scores). Writes models/pruned.onnx, models/calibration.json with the ranges of every calibrator (one of
them is what quantize takes), and in reports/calibrate a table of them and pictures of the histograms.
"""

from __future__ import annotations

from typing import Any

import hydra
import onnx
from omegaconf import DictConfig

from src.config import CALIBRATORS, Calibrate
from src.deployment.export import export_onnx
from src.detector.runtime import settle
from src.foundation.atomic import whole_file, whole_folder
from src.foundation.digests import digest
from src.quantization.calibration import Calibration, write_calibration, write_ranges
from src.quantization.images import choose_images
from src.quantization.ranges.calibrators import calibrated
from src.quantization.ranges.histogram import share_outside
from src.quantization.rewrites.equalization import equalize
from src.reporting.quantization_plots import draw_histograms, evenly_spaced, most_stretched
from src.workflow import stage
from src.workflow.tracking import Run


def run(params: Calibrate, place: stage.Place, log: Run) -> dict[str, Any]:
    """Export, observe, choose ranges and return what was counted."""
    settle(params.device, params.threads)
    network = place.write("models/pruned.onnx")
    export_onnx(place.read("models/pruned.pt"), network, params.imgsz)
    if params.equalize:
        with whole_file(network) as partly:
            onnx.save(equalize(onnx.load(network)), partly)
    prepared = place.read("data/prepared")
    train = prepared / "images" / "train"
    images = choose_images(train, params.images, params.seed)
    names = tuple(str(path.relative_to(train)) for path in images)
    settings = {"momentum": params.momentum, "percentile": params.percentile}
    tensors = calibrated(onnx.load(network), images, params.imgsz, settings, bins=params.bins, threads=params.threads)
    calibration = Calibration(digest(network), params.imgsz, settings, names, tensors)
    write_calibration(place.write("models/calibration.json"), calibration)
    report = place.write("reports/calibrate")
    with whole_folder(report) as folder:
        write_ranges(calibration, folder / "ranges.csv")
        draw_histograms(tensors, evenly_spaced(tensors), "From the input to the output", folder / "depth.png")
        draw_histograms(tensors, most_stretched(tensors), "The farthest outliers", folder / "outliers.png")
    log.artifact(report, folder="plots")
    log.dataset("prepared", digest(prepared), "data/prepared", {"images": len(images)})
    return {
        "images": len(images),
        "tensors": len(tensors),
        "tensors_without_width": sum(t.histogram.least == t.histogram.greatest == 0 for t in tensors.values()),
        "clipped_share": {calibrator: _clipped_share(calibration, calibrator) for calibrator in CALIBRATORS},
    }


def _clipped_share(calibration: Calibration, calibrator: str) -> dict[str, float]:
    """Return which share of values the ranges cut off, in the mean over tensors and at most."""
    shares = [share_outside(tensor.histogram, *tensor.ranges[calibrator]) for tensor in calibration.tensors.values()]
    return {"mean": round(sum(shares) / len(shares), 8), "most": round(max(shares), 8)}


@hydra.main(version_base="1.3", config_path="../conf", config_name="calibrate")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("calibrate", run, config)


if __name__ == "__main__":
    stage.guard(main)
