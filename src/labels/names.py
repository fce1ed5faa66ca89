"""Find the file that a label means although its name is spelled otherwise.

Spellings differ by backslashes, URL encoding, Unicode forms and, as file systems of Windows and Mac ignore it, case.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote


def canonical(name: str) -> str:
    r"""Return the form in which spellings of one name are the same.

    >>> canonical("images\\a.jpg"), canonical("a%20b.jpg"), canonical("./a.jpg")
    ('images/a.jpg', 'a b.jpg', 'a.jpg')
    """
    text = unicodedata.normalize("NFC", unquote(name.replace("\\", "/")))
    return posixpath.normpath(text) if text else text


def spelled_alike(name: str, other: str) -> bool:
    """Return whether two names are spellings of one name.

    >>> spelled_alike("IMG%201.JPG", "img 1.jpg"), spelled_alike("a.jpg", "b.jpg")
    (True, False)
    """
    return _key(name) == _key(other)


class Names:
    """Names that exist, found by any of their spellings."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = frozenset(names)
        self._spelled: dict[str, list[str]] = {}
        for name in sorted(self._exact):
            self._spelled.setdefault(_key(name), []).append(name)

    def find(self, name: str) -> str | None:
        """Return the name itself if it exists, else the only one that it spells otherwise, else None.

        >>> Names(["cell 1.jpg", "b.jpg"]).find("cell%201.jpg")
        'cell 1.jpg'
        >>> Names(["é".encode().decode(), "e\u0301"]).find("%C3%A9") is None  # two names fit
        True
        """
        if name in self._exact:
            return name
        fitting = self._spelled.get(_key(name), [])
        return fitting[0] if len(fitting) == 1 else None


def _key(name: str) -> str:
    return canonical(name).casefold()
