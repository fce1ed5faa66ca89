"""A search for a setting that meets the accuracy budget, the fastest settings first.

Other ranges, scales and zero points do not slow the network down, so they are tried first. Layers in float do: the most
sensitive layers come first, and every step doubles their number. Training costs most, and is tried last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from src.quantization.ranges.calibrators import CALIBRATORS
from src.quantization.setting import Setting

FLOAT_LAYERS = (1, 2, 4, 8, 16)
"""Numbers of most sensitive layers in float that are tried."""


@dataclass(frozen=True)
class Candidate:
    """A way to quantize.

    Attributes:
        setting: ranges, types, granularity and layers in float.
        trained: whether quantization-aware training comes first.
    """

    setting: Setting
    trained: bool

    @property
    def varied(self) -> dict[str, str | bool | int]:
        """The values that a search varies, by name."""
        varied = ("calibrator", "per_channel", "symmetric_activations", "float_layers")
        return {**{name: getattr(self.setting, name) for name in varied}, "trained": self.trained}


@dataclass(frozen=True)
class Try:
    """A candidate and its accuracy, mAP50-95 on val.

    Attributes:
        candidate: the candidate that was tried.
        map50_95: its accuracy.
        drop: its loss of accuracy against the float network.
        gain: its gain over the best earlier try; negative if it is worse. 0 for the first try.
    """

    candidate: Candidate
    map50_95: float
    drop: float
    gain: float


def search(start: Candidate, float_map50_95: float, max_drop: float, score: Callable[[Candidate], float]) -> list[Try]:
    """Try candidates until one loses at most `max_drop`. Return all tries; the last one meets the budget.

    If none meets it, all candidates were tried, and `best` returns the one that loses least.

    Args:
        start: the first candidate.
        float_map50_95: mAP50-95 of the float network on val.
        max_drop: the budget: the largest accepted loss of mAP50-95.
        score: quantizes a candidate and returns its mAP50-95 on val.
    """
    tried: list[Try] = []
    for step in (_start, _calibrators, _granularity, _symmetry, _float_layers, _trained_integers, _trained_best):
        for candidate in step(start, tried):
            if any(one.candidate == candidate for one in tried):
                continue
            accuracy = score(candidate)
            gain = accuracy - max(one.map50_95 for one in tried) if tried else 0.0
            tried.append(Try(candidate, accuracy, round(float_map50_95 - accuracy, 6), round(gain, 6)))
            if tried[-1].drop <= max_drop:
                return tried
    return tried


def best(tried: Sequence[Try]) -> Try:
    """Return the try with the least drop. Of equal tries it is the first, which is the fastest."""
    return min(tried, key=lambda one: one.drop)


# Each step returns candidates, given the first candidate and all tries of earlier steps.


def _start(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    return [start]


def _calibrators(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    return [replace(start, setting=replace(start.setting, calibrator=name)) for name in CALIBRATORS]


def _granularity(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    per_channel = not start.setting.per_channel
    setting = best(tried).candidate.setting
    symmetric = setting.symmetric_weights or per_channel  # integer kernels take one zero point for all channels
    return [replace(start, setting=replace(setting, per_channel=per_channel, symmetric_weights=symmetric))]


def _symmetry(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    setting = best(tried).candidate.setting
    return [replace(start, setting=replace(setting, symmetric_activations=not start.setting.symmetric_activations))]


def _float_layers(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    setting, fewest = best(tried).candidate.setting, start.setting.float_layers
    return [replace(start, setting=replace(setting, float_layers=count)) for count in FLOAT_LAYERS if count > fewest]


def _trained_integers(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    """Train the best of the tries that have no additional layers in float."""
    integers = [one for one in tried if one.candidate.setting.float_layers == start.setting.float_layers]
    return [replace(best(integers).candidate, trained=True)]


def _trained_best(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    return [replace(best(tried).candidate, trained=True)]
