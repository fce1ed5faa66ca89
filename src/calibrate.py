"""calibrate: exports the pruned student to ONNX and finds the range of every activation on training images.

Reads models/pruned.pt and the training images of data/prepared; ranges of val or test images would leak into the
scores. Writes models/pruned.onnx, models/calibration.json with the ranges of every calibrator (quantize takes those of
one), and in reports/calibrate a table of the ranges and pictures of the histograms.
"""

from __future__ import annotations

from src.workflow.command import command

if __name__ == "__main__":
    command("calibrate")

import onnx

from src.config.calibrate import Calibrate
from src.deployment.equalization import equalize
from src.deployment.export import export_onnx
from src.deployment.images import choose_images
from src.detector.runtime import settle
from src.foundation.atomic import whole_file, whole_folder
from src.foundation.digests import digest
from src.foundation.pipeline import CALIBRATION, FLOAT_ONNX, PREPARED, PRUNED
from src.quantization.ranges.calibration import Calibration, write_calibration
from src.quantization.ranges.calibrators import CALIBRATORS, calibrate_tensors
from src.quantization.ranges.histogram import share_outside
from src.reporting.histograms import draw_histograms, evenly_spaced, most_stretched
from src.reporting.range_table import write_ranges
from src.workflow.stage import StageResult
from src.workflow.stage_files import StageFiles
from src.workflow.tracking import Run


def run(params: Calibrate, files: StageFiles, log: Run) -> StageResult:
    """Export, observe and choose ranges; return how many images and tensors there are, and what is clipped."""
    settle(params.device, params.cpu_threads)
    network = files.write(FLOAT_ONNX)
    export_onnx(files.read(PRUNED), network, params.imgsz)
    if params.equalize:
        with whole_file(network) as incomplete:
            onnx.save(equalize(onnx.load(network)), incomplete)
    train = files.read(PREPARED) / "images" / "train"
    images = choose_images(train, params.images, params.seed)
    settings = {"momentum": params.momentum, "percentile": params.percentile}
    tensors = calibrate_tensors(
        onnx.load(network), images, params.imgsz, settings, bins=params.bins, threads=params.cpu_threads
    )
    names = tuple(str(path.relative_to(train)) for path in images)
    calibration = Calibration(digest(network), params.imgsz, settings, names, tensors)
    write_calibration(files.write(CALIBRATION), calibration)
    report = files.write("reports/calibrate")
    with whole_folder(report) as folder:
        write_ranges(calibration, folder / "ranges.csv")
        draw_histograms(tensors, evenly_spaced(tensors), "From the input to the output", folder / "depth.png")
        draw_histograms(tensors, most_stretched(tensors), "The farthest outliers", folder / "outliers.png")
    log.artifact(report, folder="plots")
    log.dataset("prepared", digest(files.inputs[PREPARED]), PREPARED, {"images": len(images)})
    return StageResult(
        {
            "images": len(images),
            "tensors": len(tensors),
            "tensors_without_width": sum(t.histogram.least == t.histogram.greatest == 0 for t in tensors.values()),
            "clipped_share": {name: _clipped_share(calibration, name) for name in CALIBRATORS},
        }
    )


def _clipped_share(calibration: Calibration, calibrator: str) -> dict[str, float]:
    """Return the share of values that the ranges clip: the mean over tensors, and the most."""
    shares = [share_outside(tensor.histogram, *tensor.ranges[calibrator]) for tensor in calibration.tensors.values()]
    return {"mean": round(sum(shares) / len(shares), 8), "most": round(max(shares), 8)}
