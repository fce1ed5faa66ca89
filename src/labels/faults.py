"""Faults in a folder of labelled images: collected in one pass, reported in one message."""

from __future__ import annotations

import os
import reprlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from src.foundation.errors import UserError, printable

MEND_KINDS = {
    "clipped": "boxes cross the edge of their image: clipped",
    "no_size": "boxes have no size, or are outside of their image: dropped",
    "doubled": "boxes are there twice: one is dropped",
    "swapped": "boxes have their corners exchanged: sorted",
    "polygon": "polygons have no box: their box is taken",
}
"""Kinds of mended faults, each in words for the screen."""

NOTE_KINDS = {
    "no_label_file": "images have no label: kept as backgrounds",
    "left_out": "images or files are left out",
    "crowd": "crowd regions are left out",
    "split": "facts about the splits",
    "no_box": "classes have no box",
    "group": "categories only group others and have no box: they are no classes",
    "elsewhere": "labels lie elsewhere than expected: read there",
    "spelling": "names are spelled otherwise than their files: matched",
    "near_duplicate": "images are near duplicates of images of another split",
}
"""Kinds of notes, each in words for the screen."""

NAMED_ON_SCREEN = 3

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """Return `value` for a message: quoted, shortened, on one line."""
    return _SHORT.repr(value).replace("\n", " ")


@dataclass(frozen=True)
class Fault:
    """A fault that only the user can correct. `file` is relative to the root."""

    file: str
    what: str
    what_to_do: str


@dataclass(frozen=True)
class Mend:
    """A fault that was corrected automatically: `kind` is one of MEND_KINDS.

    `slight`: what was meant is beyond doubt, such as where an edge was rounded.
    """

    file: str
    kind: str
    what: str
    slight: bool = False


@dataclass(frozen=True)
class Note:
    """A fact that is not a fault, but that the user should see: `kind` is one of NOTE_KINDS."""

    file: str
    kind: str
    what: str


class Faults:
    """Collects everything that readers find, so that they do not stop at the first fault.

    Attributes:
        root: file names in messages are relative to this folder.
        setting: the name of the setting that holds the root, for messages.
        largest_mended_share: of the boxes; above it a dataset is refused; None: it never is.
        boxes: number of boxes that were read, mended or not.
        unread: whether a file that names the images of a split, or of all, gave none because of a fault.
        fatal, mends, notes: the findings, in the order in which they were added.
    """

    def __init__(self, root: Path, setting: str = "data.root", largest_mended_share: float | None = None) -> None:
        self.root = root
        self.setting = setting
        self.largest_mended_share = largest_mended_share
        self.boxes = 0
        self.unread = False
        self.fatal: list[Fault] = []
        self.mends: list[Mend] = []
        self.notes: list[Note] = []

    def add(self, file: Path, what: str, what_to_do: str) -> None:
        """Add a fault that cannot be mended, with advice for the user."""
        self.fatal.append(Fault(self.name(file), what, what_to_do))

    def mended(self, file: Path, kind: str, what: str, *, slight: bool = False) -> None:
        """Add a fault that was mended."""
        self.mends.append(Mend(self.name(file), kind, what, slight))

    def note(self, file: Path, kind: str, what: str) -> None:
        """Add a note."""
        self.notes.append(Note(self.name(file), kind, what))

    def name(self, path: Path) -> str:
        """Return `path` relative to the root, with / as separator, in one line.

        Control characters and bytes that are not UTF-8 are escaped.
        """
        if path == self.root:
            return self.setting
        return printable(os.path.relpath(path, self.root).replace(os.sep, "/"))

    def mend_counts(self) -> dict[str, int]:
        """Return the number of mends of each kind."""
        counts = Counter(mend.kind for mend in self.mends)
        return {kind: counts[kind] for kind in MEND_KINDS}

    def note_counts(self) -> dict[str, int]:
        """Return the number of notes of each kind."""
        counts = Counter(note.kind for note in self.notes)
        return {kind: counts[kind] for kind in NOTE_KINDS}

    def screen_lines(self) -> list[str]:
        """Return a line for each kind of mend and note: their number and the first of them."""
        kinds: list[tuple[str, list[Mend | Note]]] = []
        kinds += [(words, [m for m in self.mends if m.kind == kind]) for kind, words in MEND_KINDS.items()]
        kinds += [(words, [n for n in self.notes if n.kind == kind]) for kind, words in NOTE_KINDS.items()]
        lines = []
        for words, found in kinds:
            found = sorted(found, key=lambda entry: entry.file)
            if 0 < len(found) <= NAMED_ON_SCREEN:
                lines += [f"{entry.file}: {entry.what}" for entry in found]
            elif found:
                lines.append(f"{len(found)} {words}. The first: {found[0].file}: {found[0].what}")
        return lines

    def end_if_fatal(self, *, strict: bool) -> None:
        """Raise if there is a fault that was not mended; with `strict`, also if there is a mended fault.

        Raises:
            UserError: its message lists all these faults, sorted by file, each with advice.
        """
        fatal = list(dict.fromkeys(self.fatal))
        if strict:
            what_to_do = "correct the label, or set prepare_labels.strict: false"
            fatal += [Fault(mend.file, mend.what, what_to_do) for mend in self.mends]
        if not fatal:
            return
        fatal.sort(key=lambda fault: fault.file)
        lines = [f"  {fault.file}: {fault.what}: {fault.what_to_do}" for fault in fatal]
        files = {fault.file for fault in fatal} - {self.setting}  # a fault of the root itself is in no file
        found_in = f" in {counted(len(files), 'file')}" if files else ""
        faults = counted(len(fatal), "fault")
        raise UserError("\n".join([f"{self.root}: {faults}{found_in}; nothing was written", *lines]))


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "box"), counted(2, "box"), counted(0, "note")
    ('1 box', '2 boxes', '0 notes')
    """
    plural = f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
