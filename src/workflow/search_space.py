"""The space of a search, from the overrides of the command line in Hydra's grammar.

    T=interval(1,8)                        a number in between
    batch=int(interval(8,64))              a whole number in between
    lr0=tag(log,interval(1e-4,1e-2))       drawn from a logarithmic scale
    epochs=range(10,50,10)                 10, 20, 30 or 40
    student=yolov8n,yolo11n                one of these
    seed=0,1,2                             not drawn: every trial runs with each, and its value is their mean

All other overrides are the same in every trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from src.foundation.errors import UserError
from src.workflow.sweep import SEED

DIGITS = 4
"""Significant digits of drawn numbers: they become names of runs and, after `src.promote`, lines of params.yaml."""


@dataclass(frozen=True)
class Space:
    """The space of a search.

    Attributes:
        fixed: each key of the command line with its override; None if the search draws its value.
        drawn: the distribution of each drawn key.
        seeds: the overrides of the seed, one per job of a trial; (None,) if it is not swept.
    """

    fixed: dict[str, str | None]
    drawn: dict[str, BaseDistribution]
    seeds: tuple[str | None, ...]

    def jobs(self, params: Mapping[str, Any]) -> list[list[str]]:
        """Return the overrides of each job of a trial."""
        settings = [fixed or f"{key}={_text(params[key], self.drawn[key])}" for key, fixed in self.fixed.items()]
        return [[*settings, *([seed] if seed else [])] for seed in self.seeds]

    def corners(self) -> list[dict[str, Any]]:
        """Return the parameters of two trials: all lowest and all highest values."""
        ends = {key: _ends(distribution) for key, distribution in self.drawn.items()}
        return [{key: some[end] for key, some in ends.items()} for end in (0, 1)]


def space_of(overrides: Sequence[Override]) -> Space:
    """Return the space that overrides describe.

    Raises:
        UserError: there is nothing to draw, or a range is empty or cannot be drawn from.
    """
    fixed: dict[str, str | None] = {}
    drawn: dict[str, BaseDistribution] = {}
    seeds: tuple[str | None, ...] = (None,)
    faults = []
    for key, override in {override.get_key_element(): override for override in overrides}.items():
        if not override.is_sweep_override():
            fixed[key] = override.input_line
        elif key == SEED and not override.is_discrete_sweep():
            faults.append(f"{SEED}: expected a list such as {SEED}=0,1,2, got {override.get_value_string()}")
        elif key == SEED:
            seeds = tuple(f"{SEED}={value}" for value in override.sweep_string_iterator())
        else:
            fixed[key] = None
            try:
                drawn[key] = _distribution(override)
            except ValueError as error:
                faults.append(f"{key}: cannot draw from {override.get_value_string()}: {str(error).rstrip('.')}")
    if not drawn and not faults:
        faults.append("a search needs something to draw: add an interval, such as 'T=interval(1,8)', a range or a list")
    if faults:
        raise UserError("; ".join(faults))
    return Space(fixed, drawn, seeds)


def _distribution(override: Override) -> BaseDistribution:
    """Return the distribution of a sweep. The order of its values means nothing, so `shuffle` changes nothing."""
    sweep: Any = override.value()
    log = "log" in getattr(sweep, "tags", ())
    if override.is_interval_sweep():
        kind = IntDistribution if isinstance(sweep.start, int) else FloatDistribution
        return kind(sweep.start, sweep.end, log=log)
    if override.is_choice_sweep():
        return CategoricalDistribution(sorted(set(override.sweep_string_iterator())))
    values: list[Any] = sorted(override.sweep_iterator())
    if not values:
        raise ValueError("it is empty")
    kind = IntDistribution if isinstance(values[0], int) else FloatDistribution
    return kind(values[0], values[-1], log=log, step=abs(sweep.step))


def _ends(distribution: BaseDistribution) -> tuple[Any, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0], distribution.choices[-1]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low, distribution.high


def _text(value: Any, distribution: BaseDistribution) -> str:
    if isinstance(distribution, FloatDistribution):
        rounded = float(f"{value:.{DIGITS}g}")
        return str(min(max(rounded, distribution.low), distribution.high))
    return str(value)
