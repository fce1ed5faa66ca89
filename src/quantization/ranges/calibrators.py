"""All calibrators: every activation is observed once, and each calibrator chooses a range for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx
from tqdm import tqdm

from src.deployment.images import load_image
from src.foundation.image_size import ImageSize
from src.quantization.ranges.calibration import CalibratedTensor, Range
from src.quantization.ranges.entropy import entropy_range
from src.quantization.ranges.minmax import minmax_range
from src.quantization.ranges.moving_average import moving_average_range
from src.quantization.ranges.mse import mse_range
from src.quantization.ranges.observation import Observation, observe
from src.quantization.ranges.percentile import percentile_range

CALIBRATORS: dict[str, Callable[[Observation, Mapping[str, float]], Range]] = {
    "minmax": lambda seen, settings: minmax_range(seen.histogram),
    "moving_average": lambda seen, settings: moving_average_range(seen.extremes, settings["momentum"]),
    "percentile": lambda seen, settings: percentile_range(seen.histogram, settings["percentile"]),
    "entropy": lambda seen, settings: entropy_range(seen.histogram),
    "mse": lambda seen, settings: mse_range(seen.histogram),
}
"""By name: a function that returns a tensor's range, given the observation and the settings of stage calibrate."""


def calibrate_tensors(
    model: onnx.ModelProto,
    images: Sequence[Path],
    imgsz: ImageSize,
    settings: Mapping[str, float],
    *,
    bins: int,
    threads: int,
) -> dict[str, CalibratedTensor]:
    """Return every float activation's histogram over `images` and its ranges, in the order of computation.

    Args:
        model: a float network with one input.
        images: at least one image file.
        imgsz: px, size of the input.
        settings: the calibrators' own settings: momentum and percentile.
        bins: number of bins of each histogram.
        threads: number of CPU threads of onnxruntime.

    Raises:
        UserError: an activation is not finite, or an image cannot be read.
    """
    with tqdm(total=2 * len(images), desc="observing activations", unit="image") as progress:
        observations = observe(
            model,
            images,
            partial(load_image, imgsz=imgsz),
            bins=bins,
            threads=threads,
            on_image=progress.update,
        )
    return {
        name: CalibratedTensor(seen.histogram, {key: choose(seen, settings) for key, choose in CALIBRATORS.items()})
        for name, seen in tqdm(observations.items(), desc="choosing ranges", unit="tensor")
    }
