"""Settings of quantize."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from src.config.distillation import SoftTargets
from src.config.training import Training
from src.foundation.constraints import OneOf, Range
from src.quantization.setting import Setting

WITHOUT_RANGES = ("dynamic", "fp16", "int4")
"""Methods that use nothing of calibration: controls."""


@dataclass(kw_only=True)
class Quantize(Setting, SoftTargets, Training):
    """How the network is quantized, and the training of the methods that train.

    Attributes:
        method: static; qat, quantization-aware training; or a control: tuned (the same training without rounding),
            dynamic, fp16, int4.
        sensitivity: quantize each layer alone, and report what it costs.
        sensitivity_images: number of calibration images on which it is measured.
        max_drop: largest loss of val mAP50-95 against FP32: settings are tried until one keeps it; None: no search.
        register: name in MLflow's model registry; None: not registered.
    """

    method: Annotated[str, OneOf("static", "qat", "tuned", *WITHOUT_RANGES)]
    sensitivity: bool
    sensitivity_images: Annotated[int, Range(least=1)]
    max_drop: Annotated[float | None, Range(least=0, most=1)]
    register: str | None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the key and the fault of each value that has no meaning for the method, or that MLflow would refuse."""
        yield from super().contradictions()
        asked = {
            "max_drop": self.max_drop is not None,
            "bias_correction": self.bias_correction,
            "float_layers": self.float_layers > 0,
            "sensitivity": self.sensitivity,
        }
        unused = [key for key, wanted in asked.items() if wanted and self.method in WITHOUT_RANGES]
        if self.max_drop is not None and self.method == "tuned":
            unused = ["max_drop"]  # the search ends with training with rounding
        for key in unused:
            yield key, f"has no meaning for method={self.method}: leave it as it is by default, or choose static or qat"
        name = self.register
        if name is not None and (not name.strip() or set(name) & set("/:@")):
            yield "register", f"must be a name without /, : and @, or null, got {name!r}"
