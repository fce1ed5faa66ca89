"""Names in Markdown and in CSV files: the name of a class, file or branch may be any text, and forges nothing."""

from __future__ import annotations

import re
from typing import Any

from src.foundation.errors import printable

_MARKUP = re.compile(r"[`*\[\]<>&|\\~!#:@$]|(?<!\w)_|_(?!\w)")
"""Characters that can mean something in Markdown or HTML. An underscore within a word means nothing."""

_NOT_IN_BACKTICKS = frozenset("`|\\<>&")
"""A backtick ends code, a `|` ends a cell of a table, also within code. The others need no trust in a renderer."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet computes a cell that begins with one of these, perhaps after a control character."""


def plain(text: str) -> str:
    """Return a text as one line of Markdown without markup, also in a cell of a table.

    >>> plain("<img> *a* b_c")
    '&#60;img&#62; &#42;a&#42; b_c'
    """
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def code(text: str) -> str:
    """Return a text as inline code of Markdown, also in a cell of a table.

    >>> code("val.map50_95"), code("a|b")
    ('`val.map50_95`', '<code>a&#124;b</code>')
    """
    shown = printable(text)
    if shown and shown == shown.strip() and not _NOT_IN_BACKTICKS & set(shown):
        return f"`{shown}`"
    return f"<code>{plain(shown)}</code>"


def fenced(text: str, language: str) -> str:
    """Return a text of several lines as a block of code. The fence is longer than all runs of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{printable(text.strip(), keep=chr(10))}\n{fence}"


def cell(value: Any) -> Any:
    """Return a value for a CSV file: a spreadsheet shows a text that begins like a formula, and does not compute it.

    >>> cell("=cmd()"), cell("-0.5"), cell("a=b"), cell(-1)
    ("'=cmd()", '-0.5', 'a=b', -1)
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
