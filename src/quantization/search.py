"""From the fastest setting towards the safest, until the accuracy budget holds.

Other ranges cost no time when the network runs, so all calibrators come first. Layers in float cost some: the most
sensitive go first, and twice as many with every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

FLOAT_LAYERS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Setting:
    """What is varied: the calibrator, and how many of the most sensitive layers stay in float."""

    calibrator: str
    float_layers: int


@dataclass(frozen=True)
class Try:
    """A setting, its val mAP50-95, and what it lost against float."""

    setting: Setting
    map50_95: float
    drop: float


def search(
    calibrators: Sequence[str], float_map50_95: float, max_drop: float, score: Callable[[Setting], float]
) -> list[Try]:
    """Try settings until one loses at most `max_drop`, and return all that were tried; the last is the one that held.

    Where none holds, all were tried, and `best` of them is what can be had.

    Args:
        calibrators: in the order in which they are tried.
        float_map50_95: of the float network, on val.
        max_drop: the budget, of mAP50-95.
        score: quantizes with a setting and returns its mAP50-95 on val.
    """
    tried: list[Try] = []
    for setting in _settings(calibrators, tried):
        accuracy = score(setting)
        tried.append(Try(setting, accuracy, round(float_map50_95 - accuracy, 6)))
        if tried[-1].drop <= max_drop:
            break
    return tried


def best(tried: Sequence[Try]) -> Try:
    """Return the try with the least drop; of equals the first, which is the fastest."""
    return min(tried, key=lambda one: one.drop)


def _settings(calibrators: Sequence[str], tried: Sequence[Try]) -> Iterator[Setting]:
    """Yield the settings in turn; layers in float go with the calibrator that lost least so far."""
    for calibrator in calibrators:
        yield Setting(calibrator, 0)
    calibrator = best(tried).setting.calibrator
    for count in FLOAT_LAYERS:
        yield Setting(calibrator, count)
