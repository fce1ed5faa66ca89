"""Names and values as MLflow can record them: metric names without forbidden characters, texts within its limits."""

from __future__ import annotations

import hashlib
import re

LONGEST_PARAM, LONGEST_TAG, LONGEST_NAME = 6000, 8000, 250
"""MLflow's limits, in characters. It cuts longer values without a sign, and refuses longer names."""

LONGEST_PART = 120
"""Of a metric's name: the name of a class, with the names of the groups that it is in, stays below the limit."""

_CUT = re.compile(r"\.\.\. \(cut: \d+ characters, md5 [0-9a-f]{32}\)$")


def metric_part(name: str) -> str:
    """Return a part of a metric's name, such as the name of a class. Different names give different parts.

    MLflow allows letters, digits, underscores, points, hyphens, spaces and colons. A colon, and all other characters,
    become `:<code point>:`; so does the first point of `.` and `..`, which would be a path. A long part is cut, and
    ends with its md5.

    >>> metric_part("red light"), metric_part("50%"), metric_part("a/b"), metric_part("..")
    ('red light', '50:25:', 'a:2f:b', ':2e:.')
    """
    escaped = re.sub(r"[^\w.\- ]", lambda found: f":{ord(found[0]):x}:", name)
    if set(escaped) <= {"."}:
        escaped = f":2e:{escaped[1:]}" if escaped else "::"
    if len(escaped) <= LONGEST_PART:
        return escaped
    md5 = hashlib.md5(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{escaped[: LONGEST_PART - len(md5) - 2]}:{md5}:"


def cut(text: str, longest: int) -> str:
    """Return a text within a limit: a longer one is cut, and ends with its length and md5.

    >>> cut("short", 250)
    'short'
    """
    if len(text) <= longest:
        return text
    md5 = hashlib.md5(text.encode("utf-8", "surrogatepass")).hexdigest()
    mark = f"... (cut: {len(text)} characters, md5 {md5})"
    return text[: longest - len(mark)] + mark


def is_cut(text: str) -> bool:
    """Return whether a recorded text was cut."""
    return _CUT.search(text) is not None
