"""Which images belong together, such as the frames of one video: those whose names agree in a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from src.labels.faults import Faults


def groups_of(paths: Sequence[Path], pattern: str | None, faults: Faults) -> list[str]:
    r"""Return the name of each image's group: the part of its name that the pattern finds, or its parts in parentheses.

    An image in whose name the pattern finds nothing is a group of its own. A pattern that contains / is searched for in
    the path from the root, any other pattern in the file's name.

    >>> names = ["v1_01.jpg", "v1_02.jpg", "v2_01.jpg"]
    >>> groups_of([Path(name) for name in names], r"^(.+)_\d+", Faults(Path(".")))
    ['v1', 'v1', 'v2']

    Args:
        paths: of the images.
        pattern: a regular expression; None: each image is a group of its own.
        faults: a pattern that is found in no name is a fault; how many images it is not found in, a note.
    """
    if pattern is None:
        return [path.as_posix() for path in paths]
    search = re.compile(pattern).search
    found = [search(faults.name(path) if "/" in pattern else path.name) for path in paths]
    without = [path for path, match in zip(paths, found, strict=True) if match is None]
    if without and len(without) == len(paths):
        what = f"group_by {pattern!r} is found in no name, such as {faults.name(paths[0])}"
        faults.add(faults.root, what, "correct the pattern; one with a / is searched for in the whole path")
    elif without:
        what = f"group_by is not found in {len(without)} of {len(paths)} names, such as {faults.name(without[0])}"
        faults.note(faults.root, "split", f"{what}: each is a group of its own")
    return [
        path.as_posix() if match is None else "\0".join(part or "" for part in match.groups() or (match[0],))
        for path, match in zip(paths, found, strict=True)
    ]
