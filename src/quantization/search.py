"""From the fastest setting towards the safest, until the accuracy budget holds.

Other ranges, scales and zero points cost no time when the network runs, so these come first. Layers in float cost some:
the most sensitive go first, and twice as many with every step. Training costs most, and comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

FLOAT_LAYERS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Setting:
    """What is varied.

    Attributes:
        calibrator: which ranges.
        per_channel: one scale per output channel of the weights.
        symmetric_activations: zero in the middle of the grid.
        float_layers: how many of the most sensitive layers stay in float.
        trained: after more training, aware of quantization.
    """

    calibrator: str
    per_channel: bool
    symmetric_activations: bool
    float_layers: int
    trained: bool


@dataclass(frozen=True)
class Try:
    """A setting and what it was worth, in mAP50-95 on val.

    Attributes:
        setting: what was tried.
        map50_95: its accuracy.
        drop: what it lost against float.
        bought: what it is above the best of the tries before it; negative where it is below. 0 for the first.
    """

    setting: Setting
    map50_95: float
    drop: float
    bought: float


def search(
    start: Setting,
    calibrators: Sequence[str],
    float_map50_95: float,
    max_drop: float,
    score: Callable[[Setting], float],
) -> list[Try]:
    """Try settings until one loses at most `max_drop`, and return all that were tried; the last is the one that held.

    Where none holds, all were tried, and `best` of them is what can be had.

    Args:
        start: the first.
        calibrators: what is tried after that of `start`, in this order.
        float_map50_95: of the float network, on val.
        max_drop: the budget, of mAP50-95.
        score: quantizes with a setting and returns its mAP50-95 on val.
    """
    tried: list[Try] = []
    for setting in _settings(start, calibrators, tried):
        if any(one.setting == setting for one in tried):
            continue
        accuracy = score(setting)
        bought = accuracy - max(one.map50_95 for one in tried) if tried else 0.0
        tried.append(Try(setting, accuracy, round(float_map50_95 - accuracy, 6), round(bought, 6)))
        if tried[-1].drop <= max_drop:
            break
    return tried


def best(tried: Sequence[Try]) -> Try:
    """Return the try with the least drop; of equals the first, which is the fastest."""
    return min(tried, key=lambda one: one.drop)


def _settings(start: Setting, calibrators: Sequence[str], tried: Sequence[Try]) -> Iterator[Setting]:
    """Yield the settings in turn; each kind of step goes on from what lost least so far."""
    yield start
    for calibrator in calibrators:
        yield replace(start, calibrator=calibrator)
    yield replace(best(tried).setting, per_channel=not start.per_channel)
    yield replace(best(tried).setting, symmetric_activations=not start.symmetric_activations)
    integers = best(tried).setting
    for count in FLOAT_LAYERS:
        if count > start.float_layers:
            yield replace(integers, float_layers=count)
    yield replace(integers, trained=True)
    yield replace(best(tried).setting, trained=True)
