"""Constraints on the values of settings, as annotations of dataclass fields.

>>> @dataclass
... class Loss:
...     alpha: Annotated[float, Range(least=0, most=1)]
>>> list(violations(Loss(alpha=1.5)))
[('alpha', 'must be at least 0 and at most 1, got 1.5')]
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, get_args, get_origin, get_type_hints


class Constraint(Protocol):
    """A rule for the value of one field."""

    def admits(self, value: Any) -> bool:
        """Return whether a field may have this value."""

    def __str__(self) -> str:
        """Complete the sentence "must ..."."""


@dataclass(frozen=True)
class Range:
    """Numbers > above, >= least, < below, <= most, a multiple of `multiple_of`; None sets no limit."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    multiple_of: float | None = None

    def admits(self, value: Any) -> bool:
        """Return whether a number is in the range."""
        return (
            math.isfinite(value)
            and (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
            and (self.multiple_of is None or value % self.multiple_of == 0)
        )

    def __str__(self) -> str:
        """Complete the sentence "must ..."."""
        limits = [
            ("above", self.above),
            ("at least", self.least),
            ("below", self.below),
            ("at most", self.most),
            ("a multiple of", self.multiple_of),
        ]
        return "be " + " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)


class OneOf:
    """One of a few texts."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed

    def admits(self, value: Any) -> bool:
        """Return whether a text is one of these."""
        return value in self.allowed

    def __str__(self) -> str:
        """Complete the sentence "must ..."."""
        return f"be one of {', '.join(self.allowed)}"


class Pattern:
    """A regular expression."""

    def admits(self, value: Any) -> bool:
        """Return whether a text can be compiled."""
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError):
            return False
        return True

    def __str__(self) -> str:
        """Complete the sentence "must ..."."""
        return "be a regular expression"


class NotEmpty:
    """A list with at least one entry."""

    def admits(self, value: Any) -> bool:
        """Return whether a list has an entry."""
        return bool(value)

    def __str__(self) -> str:
        """Complete the sentence "must ..."."""
        return "name at least one"


def violations(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the key and the fault of every field that breaks a constraint.

    None is checked by its type alone, unless that is `Any`.

    Args:
        settings: an instance of a dataclass, whose fields may be dataclasses.
        prefix: of the keys.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, key, hint = getattr(settings, field.name), prefix + field.name, hints[field.name]
        if dataclasses.is_dataclass(value):
            yield from violations(value, f"{key}.")
        if get_origin(hint) is not Annotated or (value is None and get_args(hint)[0] is not Any):
            continue
        for constraint in get_args(hint)[1:]:
            if not constraint.admits(value):
                yield key, f"must {constraint}, got {value}"
