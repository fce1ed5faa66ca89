"""Find and read the files of a folder from an unknown source, without leaving the folder."""

from __future__ import annotations

import codecs
import math
import os
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePath

from src.foundation.prepared import IMAGE_SUFFIXES
from src.labels.decoding import has_image_header
from src.labels.faults import Faults, shown
from src.labels.limits import read_bytes
from src.labels.names import canonical

UNREAD_IMAGES = frozenset(
    {".apng", ".avif", ".dcm", ".dng", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".mpo", ".pgm", ".ppm", ".psd", ".svg"}
)
PUT_FILE = "put the file itself there"
_TEXTS = (".csv", ".json", ".txt", ".xml", ".yaml", ".yml")

CACHED = re.compile(r".*/files/md5/[0-9a-f]{2}/[0-9a-f]{30}")
"""A path in DVC's cache. With `cache.type symlink` the files of a folder that DVC tracks are links to there."""


def inside(root: Path, base: Path, name: str, faults: Faults, named_in: Path, where: str = "") -> Path | None:
    """Return `base / name`, or None and add a fault if that path is invalid or outside of `root`.

    Symbolic links are resolved before the check; links into DVC's cache are allowed. The path may not exist. `named_in`
    is the file that contains `name`: the fault is listed under it, and begins with `where`.
    """
    try:
        path = base / name
        lexically_outside = not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root))
        outside = _leads_outside(path, os.path.realpath(root)) or (lexically_outside and _leads_to_cache(path))
    except (OSError, ValueError) as error:  # too long, a null byte, half a surrogate pair
        faults.add(named_in, f"{where}{shown(name)} is not a path ({error})", "correct it")
        return None
    if outside:
        what, advice = (
            f"{where}{shown(name)} leads outside of {faults.setting}",
            f"write a path within {faults.setting}",
        )
        if path.is_symlink():
            what, advice = f"{what}, by a link", PUT_FILE
        faults.add(named_in, what, advice)
        return None
    return path


class OtherFiles:
    """Hints for labels without an image: files of its stem elsewhere, or with a suffix that is not read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def hint(self, name: str) -> str:
        """Return a hint to add to a message about the missing image of a label; empty if there is no such file."""
        found = self._by_stem.get(canonical(PurePath(name.replace("\\", "/")).stem))
        return "" if found is None else f" ({found} is there, but is not read for it)"

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for parent, folders, names in os.walk(self._root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and not name.lower().endswith(_TEXTS):
                    path = os.path.relpath(Path(parent, name), self._root).replace(os.sep, "/")
                    found.setdefault(canonical(os.path.splitext(name)[0]), shown(path))
        return found


def is_folder(root: Path, faults: Faults) -> bool:
    """Return whether the root is a folder; add a fault if it is not."""
    found = root.is_dir()
    if not found:
        what = "is not a folder" if root.exists() else "does not exist"
        faults.add(root, what, f"put the labelled images there, or correct {faults.setting}")
    return found


def subfolder(folder: Path, names: Iterable[str]) -> str | None:
    """Return the first of the names, in any case, that a subfolder of `folder` has; None if there is none."""
    if not folder.is_dir():
        return None
    of_name: dict[str, str] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.as_posix(), reverse=True):
        if path.is_dir():
            of_name[path.name.lower()] = path.name
    return next((of_name[name.lower()] for name in names if name.lower() in of_name), None)


def recognised(root: Path, given: str | None, usual: Iterable[str], what: str, key: str, faults: Faults) -> Path | None:
    """Return the folder (or file) `given` in the configuration; without it, the first of the `usual` names that exists.

    If none exists, add a fault and return None. The fault names `key`, the field of the configuration that sets it.
    """
    usual = tuple(usual)
    for name in (given,) if given is not None else usual:
        path = inside(root, root, name, faults, root / name)
        if path is None:
            return None
        if os.path.exists(path):
            return path
    wanted = shown(given) if given is not None else " or ".join(usual)
    faults.add(root, f"{what}: expected {wanted}, found none", f"add it, or set data.{key}")
    return None


def files_below(folder: Path, suffixes: Iterable[str], faults: Faults) -> list[Path]:
    """Like `files_in`, but also search the subfolders. A link to a folder is a fault."""
    found: list[Path] = []
    for parent, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in folders):
            if path.is_symlink():
                faults.add(path, "a link to a folder, which is not followed", "put the folder itself there")
        found += files_in(Path(parent), suffixes, faults)
    return sorted(found, key=lambda path: path.as_posix())


def files_in(folder: Path, suffixes: Iterable[str], faults: Faults) -> list[Path]:
    """Return the files of `folder` with one of these suffixes, sorted. Hidden files are skipped.

    These add a fault and are left out: a link that is broken or leads outside of the root, a folder with such a suffix,
    a name that is not UTF-8. Among images, a file without a suffix counts if it begins like an image; a format that is
    not read is a fault.

    Args:
        folder: an existing folder.
        suffixes: in lower case, such as `.jpg`; the suffix of a file may have any case.
        faults: collects the faults; links may not lead outside of its root.
    """
    suffixes = frozenset(suffixes)
    root = os.path.realpath(faults.root)
    found: list[Path] = []
    for path in sorted(folder.iterdir(), key=lambda path: path.as_posix()):
        if path.name.startswith("."):
            continue
        suffix = path.suffix.lower()
        if suffixes == IMAGE_SUFFIXES and suffix in UNREAD_IMAGES:
            what = f"an image of a format that is not read ({suffix})"
            faults.add(path, what, "save it as JPEG or PNG, or remove it")
            continue
        if suffix not in suffixes and not (suffixes >= IMAGE_SUFFIXES and is_image(path)):
            continue
        if path.name != path.name.encode("utf-8", "replace").decode():
            faults.add(path, "the file's name is not UTF-8", "rename it")
        elif path.is_symlink() and _leads_outside(path, root):
            faults.add(path, f"a link that leads outside of {faults.setting}", PUT_FILE)
        elif not path.is_file():
            what = "a folder" if path.is_dir() else "a broken link or a special file"
            faults.add(path, f"{what} where a file was expected", "put the file itself there, or remove it")
        else:
            found.append(path)
    return found


def _leads_outside(path: Path, real_root: str) -> bool:
    """Return whether a path leads outside of the root, other than by a link into DVC's cache."""
    return not Path(os.path.realpath(path)).is_relative_to(real_root) and not _leads_to_cache(path)


def _leads_to_cache(path: Path) -> bool:
    return path.is_symlink() and CACHED.fullmatch(Path(os.path.realpath(path)).as_posix()) is not None


def is_image(path: Path) -> bool:
    """Return whether a file has the suffix of an image, or none and begins like an image."""
    if path.suffix:
        return path.suffix.lower() in IMAGE_SUFFIXES
    return path.is_file() and has_image_header(path)


def read_text(path: Path, faults: Faults) -> str | None:
    """Return the text of a UTF-8 file; add a fault and return None if it cannot be read."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        faults.add(path, f"not UTF-8 text (byte {error.start})", "save it as UTF-8")
    except (OSError, ValueError) as error:
        _add_unreadable(path, error, faults)
    return None


def _add_unreadable(path: Path, error: OSError | ValueError, faults: Faults) -> None:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    faults.add(path, f"cannot be read ({reason})", "put a readable file there or remove it")


def read_xml_text(path: Path, faults: Faults) -> str | None:
    """Return the text of an XML file in the encoding that it declares; add a fault and return None on failure."""
    try:
        content = read_bytes(path)
    except (OSError, ValueError) as error:
        _add_unreadable(path, error, faults)
        return None
    encoding = _xml_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else encoding
        faults.add(path, f"not {name} text (byte {error.start})", "save it as UTF-8, or declare its encoding")
    except (LookupError, ValueError):
        faults.add(path, f"declares the unknown encoding {shown(encoding)}", "save it as UTF-8")
    return None


def _xml_encoding(content: bytes) -> str:
    """Return the name of an XML file's encoding: of its byte order mark, else the declared one, else UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    declared = re.match(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""", content)
    name = declared[1].decode("ascii", "replace").lower() if declared else "utf-8"
    if name in ("gb2312", "gbk"):
        return "gb18030"  # Windows calls GBK gb2312; this one contains both
    # A declaration that was just read byte by byte is not in UTF-16: .NET declares that of text that it saves as UTF-8.
    return "utf-8-sig" if name.replace("_", "-") in ("utf-8", "utf8") or name.startswith("utf-16") else name


def finite(value: object) -> float | None:
    """Return a finite number, given as number or as text, as float; None for everything else.

    >>> finite("1e3"), finite(2)
    (1000.0, 2.0)
    >>> finite("nan"), finite("12 px"), finite(True)
    (None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*", value, re.ASCII):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
