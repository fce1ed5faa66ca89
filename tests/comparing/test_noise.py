"""How far a metric moves by noise, from what the reports hold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from src.comparing.changes import Meaning, judged
from src.comparing.noise import accuracy_noise, half_width, latency_noise, speedup_noise
from src.comparing.sides import ACCURACY, LATENCY, Side
from tests.compared import accuracy, latency


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"teacher": {"map50_95": 0.7, "map50_95_interval": {"low": 0.66, "high": 0.72}}}, 0.03),
        ({"teacher": {"map50_95": 0.7, "map50_95_interval": {"low": 0.66}}}, None),
        ({"teacher": {"map50_95": 0.7, "map50_95_interval": {"low": "a", "high": "b"}}}, None),
        ({"teacher": {"map50_95": 0.7, "map50_95_interval": "by bootstrap"}}, None),
    ],
    ids=["none", "both ends", "one end", "no numbers", "a text"],
)
def test_the_interval_of_a_metric(more: dict[str, Any], expected: float | None) -> None:
    found = half_width(accuracy(**more), "teacher.map50_95")
    assert found == (None if expected is None else pytest.approx(expected))


def test_intervals_of_both_sides_add_as_independent_ones() -> None:
    def side(*interval: float) -> Side:
        ends = dict(zip(("low", "high"), interval, strict=True))
        return Side("x", {ACCURACY: {"int8_drop": {"vs_fp32": 0.0}, "differences": {"int8_vs_fp32": ends}}})

    drop = "int8_drop.vs_fp32"
    assert accuracy_noise(side(-3, 3), side(-4, 4), drop) == pytest.approx(5)
    without = Side("x", {ACCURACY: accuracy()})
    assert accuracy_noise(without, side(-3, 3), drop) == pytest.approx(3 * math.sqrt(2)), "one stands for both"
    assert accuracy_noise(without, without, drop) is None


def test_medians_closer_than_the_spreads_of_both_runs_are_noise() -> None:
    before, now = (Side("x", {LATENCY: latency(1.0, spread)}) for spread in (0.25, 0.5))
    assert latency_noise(before, now, "onnx_int8") == 0.75
    assert latency_noise(before, now, "nothing") is None
    assert latency_noise(Side("x"), now, "onnx_int8") is None


def test_a_speedup_moves_with_the_larger_relative_spread() -> None:
    before, now = Side("x", {LATENCY: latency(1.0, 0.25)}), Side("x", {LATENCY: latency(0.5, 0.05)})
    assert speedup_noise(before, now, "int8_vs_fp32") == pytest.approx(2.0 * 0.25 / 1.0 + 4.0 * 0.05 / 0.5)
    assert speedup_noise(before, now, "int8_vs_teacher") is None


@pytest.mark.parametrize(
    ("new", "noise", "higher_is_better", "expected"),
    [
        (0.75, 0.125, True, Meaning.WITHIN_NOISE),
        (0.625, 0.125, True, Meaning.WITHIN_NOISE),
        (1.0, 0.125, True, Meaning.BETTER),
        (1.0, 0.125, False, Meaning.WORSE),
        (0.5, 0.125, True, Meaning.WORSE),
        (0.5, 0.125, False, Meaning.BETTER),
        (0.5, None, True, Meaning.NOISE_NOT_KNOWN),
        (0.76, 0.0, True, Meaning.BETTER),
    ],
)
def test_a_change_is_coloured_only_beyond_noise(
    new: float, noise: float | None, higher_is_better: bool, expected: Meaning
) -> None:
    assert judged(0.75, new, noise, higher_is_better) == expected
