"""The size of an image that its label tells, and the ways in which tools write that they do not know it."""

from __future__ import annotations

from src.labels.folders import finite

_UNKNOWN = frozenset({"", "null", "none", "nan"})


def told_size(width: object, height: object) -> tuple[int, int] | None:
    """Return width and height, px; None if one is missing, null, empty or 0: then the image itself tells its size.

    >>> told_size("640", 480.0), told_size(0, 0), told_size("", None)
    ((640, 480), None, None)

    Raises:
        ValueError: they are neither unknown nor whole numbers.
    """
    if _is_unknown(width) or _is_unknown(height):
        return None
    numbers = finite(width), finite(height)
    if numbers[0] is None or numbers[1] is None or any(number != int(number) for number in numbers if number):
        raise ValueError
    return int(numbers[0]), int(numbers[1])


def _is_unknown(value: object) -> bool:
    text = value.strip().lower() if isinstance(value, str) else value
    return text is None or finite(text) == 0 or (isinstance(text, str) and text in _UNKNOWN)
