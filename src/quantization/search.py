"""Settings from the fastest towards the safest, until the accuracy budget holds.

Other ranges, scales and zero points do not slow the network down, so they come first. Layers in float do: the most
sensitive first, twice as many with every step. Training costs most, and comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from src.quantization.ranges.calibrators import CALIBRATORS
from src.quantization.setting import Setting

FLOAT_LAYERS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Candidate:
    """A way to quantize.

    Attributes:
        setting: ranges, types, granularity and layers in float.
        trained: after quantization-aware training.
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
        candidate: that was tried.
        map50_95: its accuracy.
        drop: its loss against float.
        gain: over the best of the tries before it; negative if it is worse. 0 for the first.
    """

    candidate: Candidate
    map50_95: float
    drop: float
    gain: float


def search(start: Candidate, float_map50_95: float, max_drop: float, score: Callable[[Candidate], float]) -> list[Try]:
    """Try candidates until one loses at most `max_drop`, and return all tries; the last is the one that holds.

    If none holds, all were tried, and `best` of them loses least.

    Args:
        start: the first.
        float_map50_95: of the float network, on val.
        max_drop: the budget, of mAP50-95.
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
    """Return the try with the least drop; of equals the first, which is the fastest."""
    return min(tried, key=lambda one: one.drop)


# Each step returns candidates, given the first one and all tries of the steps before.


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
    """Train the best of those without further layers in float."""
    integers = [one for one in tried if one.candidate.setting.float_layers == start.setting.float_layers]
    return [replace(best(integers).candidate, trained=True)]


def _trained_best(start: Candidate, tried: Sequence[Try]) -> list[Candidate]:
    return [replace(best(tried).candidate, trained=True)]
