"""The box of a polygon, for objects that were drawn as a polygon and have no box."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST_NUMBERS = 6  # of three points


def box_of(numbers: Sequence[float]) -> list[float] | None:
    """Return left, top, right, bottom of a polygon x1 y1 x2 y2 ...; None if it is none.

    >>> box_of([1, 2, 5, 2, 3, 8])
    [1, 2, 5, 8]
    """
    if len(numbers) < FEWEST_NUMBERS or len(numbers) % 2:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return [min(xs), min(ys), max(xs), max(ys)]
