"""What is wrong with a folder of labelled images: all of it collected in one pass, then told in one message."""

from __future__ import annotations

import os
import reprlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from src.foundation.errors import UserError

MEND_KINDS = ("clipped", "no_size", "doubled")
NOTE_KINDS = ("no_label_file", "left_out", "crowd", "split")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """Return `value` as it may stand in a message: quoted, cut to a readable length, on one line."""
    return _SHORT.repr(value).replace("\n", " ")


@dataclass(frozen=True)
class Fault:
    """Something that only a person can mend. `file` is relative to the data's root."""

    file: str
    what: str
    what_to_do: str


@dataclass(frozen=True)
class Mend:
    """Something that was mended: `kind` is one of MEND_KINDS."""

    file: str
    kind: str
    what: str


@dataclass(frozen=True)
class Note:
    """Something that is right, but that nobody should be surprised by: `kind` is one of NOTE_KINDS."""

    file: str
    kind: str
    what: str


class Faults:
    """The collector that readers tell everything they find, instead of ending at the first fault.

    Attributes:
        root: the folder that names of files are relative to.
        fatal, mends, notes: what was found, in the order in which it was found.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fatal: list[Fault] = []
        self.mends: list[Mend] = []
        self.notes: list[Note] = []

    def add(self, file: Path, what: str, what_to_do: str) -> None:
        """Add a fault that cannot be mended."""
        self.fatal.append(Fault(self.name(file), what, what_to_do))

    def mended(self, file: Path, kind: str, what: str) -> None:
        """Add something that was mended."""
        self.mends.append(Mend(self.name(file), kind, what))

    def note(self, file: Path, kind: str, what: str) -> None:
        """Add something that a reader of the report should know."""
        self.notes.append(Note(self.name(file), kind, what))

    def name(self, path: Path) -> str:
        """Return `path` relative to the root, with / and nothing that cannot be written as UTF-8."""
        if path == self.root:
            return "data.root"
        return os.path.relpath(path, self.root).replace(os.sep, "/").encode("utf-8", "backslashreplace").decode()

    def mend_counts(self) -> dict[str, int]:
        """Return how many mends of each kind there are."""
        counts = Counter(mend.kind for mend in self.mends)
        return {kind: counts[kind] for kind in MEND_KINDS}

    def note_counts(self) -> dict[str, int]:
        """Return how many notes of each kind there are."""
        counts = Counter(note.kind for note in self.notes)
        return {kind: counts[kind] for kind in NOTE_KINDS}

    def end_if_fatal(self, *, strict: bool) -> None:
        """End if there is a fault that was not mended; with `strict`, also if there is one that was.

        Raises:
            UserError: its message lists all of them, sorted by file, each with what to do.
        """
        fatal = list(self.fatal)
        if strict:
            fatal += [Fault(mend.file, mend.what, "correct the label, or set strict: false") for mend in self.mends]
        if not fatal:
            return
        fatal.sort(key=lambda fault: fault.file)
        lines = [f"  {fault.file}: {fault.what}: {fault.what_to_do}" for fault in fatal]
        faults, found_in = _counted(len(fatal), "fault"), _counted(len({fault.file for fault in fatal}), "file")
        raise UserError("\n".join([f"{self.root}: {faults} in {found_in}; nothing was written", *lines]))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
