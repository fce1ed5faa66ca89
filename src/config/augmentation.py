"""How training varies images (group `augmentation`), under ultralytics' names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from src.foundation.constraints import Range

Fraction = Annotated[float, Range(least=0, most=1)]


@dataclass(kw_only=True)
class Augmentation:
    """Strengths and probabilities; ultralytics' documentation describes each."""

    hsv_h: Fraction
    hsv_s: Fraction
    hsv_v: Fraction
    degrees: Annotated[float, Range(least=0, most=180)]
    translate: Fraction
    scale: Fraction
    fliplr: Fraction
    flipud: Fraction
    mosaic: Fraction
    close_mosaic: Annotated[int, Range(least=0)]
    mixup: Fraction
