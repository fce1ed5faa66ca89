"""The targets that a detector is delivered to: one per file, found by its name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.delivery.target import Target

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))
"""The names of all targets. Their files are imported when they are asked for."""


def target_of(name: str) -> Target:
    """Return the target of a name in `NAMES`."""
    target: Target = import_module(f"{__name__}.{name}").TARGET
    return target
