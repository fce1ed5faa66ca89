"""One network, its ranges and all that can be done with them: quantized in any setting, layer by layer, corrected."""

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

from src.foundation.digests import digest
from src.quantization.calibration import Calibration
from src.quantization.fake_quantization import aware
from src.quantization.graph import learned_convolutions
from src.quantization.images import load_image
from src.quantization.int8 import Int8, quantize_network
from src.quantization.ranges.calibrators import calibrated
from src.quantization.rewrites.bias_correction import correct_biases
from src.quantization.search import Setting
from src.quantization.sensitivity import LayerError, layer_errors


@dataclass
class Bench:
    """What is needed to quantize a network in several settings.

    Attributes:
        model: the float network.
        calibration: its ranges.
        how: types, granularity, format; a setting has its own say on some of it.
        train: the folder of the images that were observed.
        bias_correction: take the mean error of rounded weights off the biases.
        sensitivity_images: how many of the observed images tell which layers suffer.
        threads: of onnxruntime.
        like: the bench whose sensitivity decides which layers stay in float; none: this one's own.
    """

    model: onnx.ModelProto
    calibration: Calibration
    how: Int8
    train: Path
    bias_correction: bool
    sensitivity_images: int
    threads: int
    like: Bench | None = None

    def images(self) -> Iterator[NDArray[np.float32]]:
        """Yield the images that were observed, as the network takes them: (1, 3, imgsz, imgsz)."""
        return (load_image(self.train / name, self.calibration.imgsz) for name in self.calibration.images)

    @cached_property
    def layers(self) -> list[str]:
        """The names of the convolutions that can be quantized, from the input to the output."""
        return learned_convolutions(self.model)

    @cached_property
    def errors(self) -> list[LayerError]:
        """The error of every layer alone, the most sensitive first; by min-max, so that all settings share an order."""
        if self.like is not None:
            return self.like.errors
        with tqdm(total=len(self.layers), desc="one layer at a time", unit="layer") as progress:
            return layer_errors(
                self.model,
                self.calibration.ranges("minmax"),
                self.how,
                list(islice(self.images(), self.sensitivity_images)),
                threads=self.threads,
                on_layer=progress.update,
            )

    def quantized(self, setting: Setting) -> onnx.ModelProto:
        """Return the network in INT8."""
        how = self.how_of(setting)
        in_float = [error.layer for error in self.errors[: setting.float_layers]] if setting.float_layers else []
        ranges = self.calibration.ranges(setting.calibrator)
        network = quantize_network(self.model, ranges, how, in_float=in_float)
        if not self.bias_correction:
            return network
        corrected = correct_biases(self.model, network, self.images(), threads=self.threads)
        return quantize_network(corrected, ranges, how, in_float=in_float)

    def how_of(self, setting: Setting) -> Int8:
        """Return types, granularity and format of a setting."""
        added = setting.per_channel and not self.how.per_channel  # by a search: channels want symmetric weights
        return replace(
            self.how,
            per_channel=setting.per_channel,
            symmetric_activations=setting.symmetric_activations,
            symmetric_weights=self.how.symmetric_weights or added,
        )

    def aware(self, network: DetectionModel, setting: Setting) -> DetectionModel:
        """Return a copy of the torch network that rounds as the setting's INT8 graph does, to be trained.

        Raises:
            UserError: `model` was not exported from it.
        """
        how = replace(self.how_of(setting), format="qdq")
        plan = replace(self, how=how, bias_correction=False, like=self).quantized(setting)
        return aware(network, self.model, plan, how)

    def with_weights(self, file: Path) -> Bench:
        """Return the bench of this network with other weights, observed on the same images.

        Args:
            file: the float network, exported.
        """
        model = onnx.load(file)
        images = [self.train / name for name in self.calibration.images]
        settings, imgsz = self.calibration.settings, self.calibration.imgsz
        bins = len(next(iter(self.calibration.tensors.values())).histogram.counts)
        tensors = calibrated(model, images, imgsz, settings, bins=bins, threads=self.threads)
        calibration = replace(self.calibration, onnx_md5=digest(file), tensors=tensors)
        return replace(self, model=model, calibration=calibration, like=self)
