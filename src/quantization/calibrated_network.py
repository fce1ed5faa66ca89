"""A float network with the ranges of its activations: quantized in any setting, and rounding in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm
from ultralytics.nn.tasks import DetectionModel

from src.deployment.graph import learned_convolutions
from src.deployment.images import load_image
from src.foundation.digests import digest
from src.quantization.fake_quantization import with_fake_quantization
from src.quantization.int8 import quantize_network
from src.quantization.ranges.calibration import Calibration
from src.quantization.ranges.calibrators import calibrate_tensors
from src.quantization.rewrites.bias_correction import correct_biases
from src.quantization.sensitivity import LayerError, layer_errors
from src.quantization.setting import Setting


@dataclass(frozen=True)
class CalibratedNetwork:
    """A float network that can be quantized.

    Attributes:
        model: the network.
        calibration: its ranges.
        train: the folder of the images that were observed.
        threads: of onnxruntime.
    """

    model: onnx.ModelProto
    calibration: Calibration
    train: Path
    threads: int

    def images(self) -> Iterator[NDArray[np.float32]]:
        """Yield the images that were observed, as the network takes them: (1, 3, imgsz, imgsz)."""
        return (load_image(self.train / name, self.calibration.imgsz) for name in self.calibration.images)

    def quantized(self, setting: Setting, ranking: LayerRanking) -> onnx.ModelProto:
        """Return the network in INT8.

        Args:
            setting: how.
            ranking: tells which layers stay in float, where the setting has such layers.
        """
        in_float = ranking.most_sensitive(setting.float_layers)
        ranges = self.calibration.ranges(setting.calibrator)
        network = quantize_network(self.model, ranges, setting, in_float=in_float)
        if not setting.bias_correction:
            return network
        corrected = correct_biases(self.model, network, self.images(), threads=self.threads)
        return quantize_network(corrected, ranges, setting, in_float=in_float)

    def fake_quantized(self, network: DetectionModel, setting: Setting, ranking: LayerRanking) -> DetectionModel:
        """Return a copy of the torch network that rounds where the INT8 graph of a setting rounds, to be trained.

        Raises:
            UserError: `model` was not exported from it.
        """
        setting = replace(setting, format="qdq", bias_correction=False)
        return with_fake_quantization(network, self.model, self.quantized(setting, ranking), setting)

    def with_weights(self, file: Path) -> CalibratedNetwork:
        """Return this network with other weights, observed on the same images.

        Args:
            file: the float network with these weights, exported.
        """
        model = onnx.load(file)
        images = [self.train / name for name in self.calibration.images]
        settings, imgsz = self.calibration.settings, self.calibration.imgsz
        bins = len(next(iter(self.calibration.tensors.values())).histogram.counts)
        tensors = calibrate_tensors(model, images, imgsz, settings, bins=bins, threads=self.threads)
        calibration = replace(self.calibration, onnx_md5=digest(file), tensors=tensors)
        return replace(self, model=model, calibration=calibration)


@dataclass(frozen=True)
class LayerRanking:
    """The convolutions of a network by how much it suffers when one of them is quantized.

    It is measured when it is first needed, with min-max ranges, so that all settings share one order.

    Attributes:
        network: the network.
        setting: types, granularity, format and target.
        images: number of observed images that it is measured on.
    """

    network: CalibratedNetwork
    setting: Setting
    images: int

    @cached_property
    def layers(self) -> list[str]:
        """The names of the convolutions that can be quantized, from the input to the output."""
        return learned_convolutions(self.network.model)

    @cached_property
    def errors(self) -> list[LayerError]:
        """The error of each layer alone, the most sensitive first."""
        with tqdm(total=len(self.layers), desc="one layer at a time", unit="layer") as progress:
            return layer_errors(
                self.network.model,
                self.network.calibration.ranges("minmax"),
                self.setting,
                list(islice(self.network.images(), self.images)),
                threads=self.network.threads,
                on_layer=progress.update,
            )

    def most_sensitive(self, count: int) -> list[str]:
        """Return the names of the `count` most sensitive layers."""
        return [error.layer for error in self.errors[:count]] if count else []
