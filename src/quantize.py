"""Turn the pruned student's ONNX into INT8 with the ranges that calibrate saved; nothing is observed again.

Reads models/pruned.onnx, models/calibration.json and data/prepared (val, to score the result; train, to find the layers
that suffer most). Writes models/int8.onnx, reports/quantize.json and reports/quantize/: what `max_drop` tried, and the
sensitivity of every layer where that was asked for or needed.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig
from tqdm import tqdm

from src import stage
from src.config import CALIBRATORS, Quantize
from src.detector.accuracy import Accuracy, validate
from src.detector.dataset import view_of
from src.detector.runtime import settle
from src.files import digest, whole_file, whole_folder
from src.quantization.bias_correction import correct_biases
from src.quantization.calibration import Calibration, read_calibration
from src.quantization.graph import learned_convolutions
from src.quantization.images import load_image
from src.quantization.int8 import Int8, quantize_network
from src.quantization.kernels import count_convolutions
from src.quantization.plots import draw_sensitivity
from src.quantization.search import Setting, Try, best, search
from src.quantization.sensitivity import LayerError, layer_errors
from src.tracking import Run

MIB = 2**20

_logger = logging.getLogger(__name__)


def run(params: Quantize, place: stage.Place, log: Run) -> dict[str, Any]:
    """Quantize, and return how large, how fast in kind and how accurate on val the result is."""
    device = settle(params.device, params.threads)
    float_network = place.read("models/pruned.onnx")
    calibration = read_calibration(place.read("models/calibration.json"), float_network, params.imgsz)
    prepared = place.read("data/prepared")
    bench = _Bench(params, float_network, calibration, prepared, device)
    tried = bench.search(params.max_drop, log) if params.max_drop is not None else []
    setting = best(tried).setting if tried else Setting(params.calibrator, params.float_layers)
    network = place.write("models/int8.onnx")
    with whole_file(network) as partial:
        onnx.save(bench.quantized(setting), partial)
    convolutions = count_convolutions(network)
    accuracy = bench.accuracy(network)
    with whole_folder(place.write("reports/quantize")) as folder:
        bench.report(tried, folder, analysed=params.sensitivity or bool(setting.float_layers))
    log.artifact(place.write("reports/quantize"), folder="plots")
    log.tags({"chosen.calibrator": setting.calibrator})
    log.dataset("prepared", digest(prepared), "data/prepared", {"split": "val"})
    log.onnx_model(network, bench.images[0], params.register)
    return {
        "val": asdict(accuracy),
        "size_mib": round(network.stat().st_size / MIB, 4),
        "fp32_size_mib": round(float_network.stat().st_size / MIB, 4),
        "integer_convolutions": convolutions.integer,
        "convolutions": convolutions.integer + convolutions.float,
        "float_layers": setting.float_layers,
        "tries": len(tried),
    }


@dataclass
class _Bench:
    """What quantizing and judging one network takes."""

    params: Quantize
    float_network: Path
    calibration: Calibration
    prepared: Path
    device: str

    @cached_property
    def model(self) -> onnx.ModelProto:
        return onnx.load(self.float_network)

    @cached_property
    def images(self) -> list[NDArray[np.float32]]:
        """The first calibration images, as the network takes them."""
        return list(islice(self.calibration_images(), self.params.sensitivity_images))

    def calibration_images(self) -> Iterator[NDArray[np.float32]]:
        """Yield the images that calibrate observed, as the network takes them."""
        train = self.prepared / "images" / "train"
        return (load_image(train / name, self.params.imgsz) for name in self.calibration.images)

    @cached_property
    def errors(self) -> list[LayerError]:
        """The error of every layer alone, the most sensitive first; by min-max, so that all settings share an order."""
        with tqdm(total=len(learned_convolutions(self.model)), desc="one layer at a time", unit="layer") as progress:
            return layer_errors(
                self.model,
                self.calibration.ranges("minmax"),
                self.how,
                self.images,
                threads=self.params.threads,
                on_layer=progress.update,
            )

    @property
    def how(self) -> Int8:
        params = self.params
        return Int8(
            target=params.target,
            format=params.format,
            activation_type=params.activation_type,
            weight_type=params.weight_type,
            per_channel=params.per_channel,
            symmetric_activations=params.symmetric_activations,
            float_head=params.float_head,
        )

    def quantized(self, setting: Setting) -> onnx.ModelProto:
        in_float = [error.layer for error in self.errors[: setting.float_layers]] if setting.float_layers else []
        ranges = self.calibration.ranges(setting.calibrator)
        network = quantize_network(self.model, ranges, self.how, in_float=in_float)
        if not self.params.bias_correction:
            return network
        corrected = correct_biases(self.model, network, self.calibration_images(), threads=self.params.threads)
        return quantize_network(corrected, ranges, self.how, in_float=in_float)

    def accuracy(self, network: Path) -> Accuracy:
        """Return the accuracy on val."""
        with view_of(self.prepared) as data_yaml:
            return validate(network, data_yaml, split="val", imgsz=self.params.imgsz, device=self.device)

    def search(self, max_drop: float, log: Run) -> list[Try]:
        """Try settings until one loses at most `max_drop` on val; each is a run below this one."""

        def score(setting: Setting) -> float:
            with tempfile.TemporaryDirectory(prefix="quantize-") as scratch:
                network = Path(scratch) / "int8.onnx"
                onnx.save(self.quantized(setting), network)
                map50_95 = self.accuracy(network).map50_95
            name = f"calibrator={setting.calibrator},float_layers={setting.float_layers}"
            log.child(name, asdict(setting), {"val": {"map50_95": map50_95}})
            _logger.info("%s: val mAP50-95 %.4f, %.4f below FP32", name, map50_95, in_float - map50_95)
            return map50_95

        in_float = self.accuracy(self.float_network).map50_95
        tried = search(CALIBRATORS, in_float, max_drop, score)
        if tried[-1].drop > max_drop:
            _logger.warning(
                "quantize.max_drop=%s does not hold: the best of %d settings loses %.4f: train aware of quantization, "
                "or allow more",
                max_drop,
                len(tried),
                best(tried).drop,
            )
        return tried

    def report(self, tried: list[Try], folder: Path, *, analysed: bool) -> None:
        """Write what was tried, and the sensitivity of the layers if they were `analysed`."""
        rows = [{**asdict(one.setting), "val_map50_95": one.map50_95, "drop": one.drop} for one in tried]
        columns = ["calibrator", "float_layers", "val_map50_95", "drop"]
        pd.DataFrame(rows, columns=columns).to_csv(folder / "tries.csv", index=False)
        if analysed:
            table = pd.DataFrame([asdict(error) for error in self.errors])
            table.to_csv(folder / "sensitivity.csv", index=False, float_format="%.4f")
            sqnr_db = {error.layer: error.sqnr_db for error in self.errors}
            draw_sensitivity(sqnr_db, learned_convolutions(self.model), folder / "sensitivity.png")


@hydra.main(version_base="1.3", config_path="../conf", config_name="quantize")
def main(config: DictConfig) -> float | None:
    """Run the stage as its configuration says."""
    return stage.execute("quantize", run, config)


if __name__ == "__main__":
    stage.guard(main)
