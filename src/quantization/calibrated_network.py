"""A float network with the ranges of its activations: it can be quantized, or trained with fake quantization."""

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
        model: the float network, ONNX.
        calibration: the ranges of its activations.
        train: folder of the training images; the observed images are among them.
        threads: number of CPU threads of onnxruntime.
    """

    model: onnx.ModelProto
    calibration: Calibration
    train: Path
    threads: int

    def images(self) -> Iterator[NDArray[np.float32]]:
        """Yield the observed images as network input, (1, 3, height, width) each."""
        return (load_image(self.train / name, self.calibration.imgsz) for name in self.calibration.images)

    def quantized(self, setting: Setting, ranking: LayerRanking) -> onnx.ModelProto:
        """Return the network in INT8.

        Args:
            setting: calibrator, types, granularity, format and target.
            ranking: the sensitivity of the layers; it is measured only if `setting.float_layers` is above 0.
        """
        in_float = ranking.most_sensitive(setting.float_layers)
        ranges = self.calibration.ranges(setting.calibrator)
        network = quantize_network(self.model, ranges, setting, in_float=in_float)
        if not setting.bias_correction:
            return network
        corrected = correct_biases(self.model, network, self.images(), threads=self.threads)
        return quantize_network(corrected, ranges, setting, in_float=in_float)

    def fake_quantized(self, network: DetectionModel, setting: Setting, ranking: LayerRanking) -> DetectionModel:
        """Return a copy of the torch network for training that rounds where the INT8 graph of a setting rounds.

        Raises:
            UserError: `model` was not exported from `network`.
        """
        setting = replace(setting, format="qdq", bias_correction=False)
        return with_fake_quantization(network, self.model, self.quantized(setting, ranking), setting)

    def with_weights(self, file: Path) -> CalibratedNetwork:
        """Return this network with other weights and with new ranges, observed on the same images.

        Args:
            file: an ONNX file, the float network exported with these weights.
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
    """The convolutions of a network, ranked by the error that quantizing one of them alone causes.

    The errors are measured when they are first needed, with min-max ranges, so that all settings share one order.

    Attributes:
        network: the network.
        setting: types, granularity, format and target.
        images: number of observed images that the errors are measured on.
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
        """The error that each layer alone causes, the most sensitive layer first."""
        with tqdm(total=len(self.layers), desc="layer sensitivity", unit="layer") as progress:
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
