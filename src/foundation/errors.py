"""Errors that are written for the person at the keyboard.

The folders of subjects state a fact: which setting or file cannot be used, what was expected, what was found. The next
step depends on how the code is run, so the stage adds it (`src/workflow/advice.py`).
"""

from __future__ import annotations

from pathlib import Path


def printable(text: str, keep: str = "") -> str:
    r"""Return a text for the screen: control characters, and all others without a form of their own, as escapes.

    The name of a class or file may hold any: a terminal would obey them, a newline would forge a line of output.

    Args:
        text: such as a name.
        keep: characters that stay, such as a newline in a message of several lines.

    >>> print(printable("red" + chr(27) + "[31m"))
    red\x1b[31m
    """
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii") for one in text
    )


class UserError(Exception):
    """Something that a user can mend.

    Stages print its message in one line, without a traceback, and exit with code 1. Every other exception is a fault of
    this project and keeps its traceback.
    """

    def __str__(self) -> str:
        """Return the message without control characters, which names in it may hold. It may have several lines."""
        return printable(super().__str__(), keep="\n")


class SettingError(UserError):
    """A setting cannot be used.

    Args:
        key: the setting, such as `weight_type` or `distillation.feature`.
        fact: what is wrong, such as `must be int8, got uint8`.
    """

    def __init__(self, key: str, fact: str) -> None:
        super().__init__(f"{key} {fact}")
        self.key = key


class OutdatedError(UserError):
    """A file of an earlier stage is damaged, or does not belong to the other files.

    Args:
        path: the file.
        fact: what is wrong, such as `holds the ranges of another network`.
    """

    def __init__(self, path: Path, fact: str) -> None:
        super().__init__(f"{path}: {fact}")
        self.path = path
