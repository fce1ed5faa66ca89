"""Errors that are written for the person at the keyboard.

The folders of subjects state a fact: which setting or file cannot be used, what was expected, what was found. What to
do about it depends on how the code is run, so the stage adds it (`src/workflow/advice.py`).
"""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something that a user can mend.

    Stages print its message in one line, without a traceback, and exit with code 1. Every other exception is a fault of
    this project and keeps its traceback.
    """


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
