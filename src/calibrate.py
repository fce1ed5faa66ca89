"""Export the pruned student to ONNX and find the range of every activation on training images.

Reads models/pruned.pt and data/prepared (its training images alone: ranges fitted to validation or test images would
leak into their scores). Writes models/pruned.onnx, models/calibration.json and pictures of the histograms in
reports/calibrate.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import hydra
import onnx
from omegaconf import DictConfig
from tqdm import tqdm

from src import stage
from src.config import Calibrate
from src.detector.export import export_onnx
from src.detector.runtime import settle
from src.files import digest, whole_folder
from src.quantization.calibration import Calibration, TensorRange, write_calibration
from src.quantization.histogram import Histogram, share_outside
from src.quantization.images import choose_images, load_image
from src.quantization.minmax import minmax_range
from src.quantization.observation import observe
from src.quantization.percentile import percentile_range
from src.quantization.plots import draw_histograms, evenly_spaced, most_stretched
from src.tracking import Run


def run(params: Calibrate, place: stage.Place, log: Run) -> dict[str, Any]:
    """Export, observe, choose ranges and return what was counted."""
    settle(params.device, params.threads)
    network = place.write("models/pruned.onnx")
    export_onnx(place.read("models/pruned.pt"), network, params.imgsz)
    prepared = place.read("data/prepared")
    train = prepared / "images" / "train"
    images = choose_images(train, params.images, params.seed)
    with tqdm(total=2 * len(images), desc="observing activations", unit="image") as progress:
        histograms = observe(
            onnx.load(network),
            images,
            partial(load_image, imgsz=params.imgsz),
            bins=params.bins,
            threads=params.threads,
            on_image=progress.update,
        )
    tensors = {name: TensorRange(histogram, *_range(params, histogram)) for name, histogram in histograms.items()}
    names = tuple(str(path.relative_to(train)) for path in images)
    calibration = Calibration(digest(network), params.imgsz, _method(params), names, tensors)
    write_calibration(place.write("models/calibration.json"), calibration)
    report = place.write("reports/calibrate")
    with whole_folder(report) as pictures:
        draw_histograms(tensors, evenly_spaced(tensors), "From the input to the output", pictures / "depth.png")
        draw_histograms(tensors, most_stretched(tensors), "The farthest outliers", pictures / "outliers.png")
    log.artifact(report, folder="plots")
    log.dataset("prepared", digest(prepared), "data/prepared", {"images": len(images)})
    outside = [share_outside(tensor.histogram, tensor.low, tensor.high) for tensor in tensors.values()]
    return {
        "images": len(images),
        "tensors": len(tensors),
        "tensors_without_width": sum(tensor.low == tensor.high for tensor in tensors.values()),
        "clipped_share_mean": round(sum(outside) / len(outside), 8),
        "clipped_share_most": round(max(outside), 8),
    }


def _range(params: Calibrate, histogram: Histogram) -> tuple[float, float]:
    if params.method == "percentile":
        return percentile_range(histogram, params.percentile)
    return minmax_range(histogram)


def _method(params: Calibrate) -> dict[str, Any]:
    return (
        {"name": "percentile", "percentile": params.percentile} if params.method == "percentile" else {"name": "minmax"}
    )


@hydra.main(version_base="1.3", config_path="../conf", config_name="calibrate")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("calibrate", run, config)


if __name__ == "__main__":
    stage.guard(main)
