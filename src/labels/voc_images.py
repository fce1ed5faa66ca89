"""The images of a Pascal VOC folder, found by what XML files and split lists call them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from src.labels.faults import Faults
from src.labels.folders import OtherFiles
from src.labels.names import Names

# Folders that say what is in them, not which image is meant: train/images/a.jpg and train/annotations/a.xml are a pair.
_KINDS = frozenset(
    {"annotations", "annotation", "labels", "xml", "xmls", "jpegimages", "images", "image", "img", "imgs"}
)


def by_key(paths: Iterable[Path], bases: Sequence[Path], faults: Faults) -> dict[str, Path]:
    """Return files by their path without suffix, the key. An image and its XML have the same one.

    The path is relative to the deepest of the `bases` that holds the file; folders that name a kind of file do not
    count. It is a fault if two files have the same key.
    """
    deepest_first = sorted(bases, key=lambda base: -len(base.parts))
    found: dict[str, Path] = {}
    for path in paths:
        base = next(base for base in deepest_first if path.is_relative_to(base))
        *folders, name = path.relative_to(base).with_suffix("").parts
        key = "/".join([*(folder for folder in folders if folder.lower() not in _KINDS), name])
        if key in found:
            faults.add(path, f"has the same stem as {faults.name(found[key])}", "rename one of them, and its label")
        else:
            found[key] = path
    return found


class VocImages:
    """Images by key, and by other names.

    Attributes:
        path_of: the image of each key.
        folder: that holds all images.
    """

    def __init__(self, path_of: dict[str, Path], folder: Path, root: Path) -> None:
        self.path_of = path_of
        self.folder = folder
        self._others = OtherFiles(root)
        self._keys = Names(path_of)
        stems = Counter(image.stem for image in path_of.values())
        self._of_stem = {image.stem: key for key, image in path_of.items() if stems[image.stem] == 1}
        self._of_path: dict[str, str] = {}
        for key, image in path_of.items():
            for base in (root, folder):
                path = image.relative_to(base).as_posix()
                for spelled in (path, os.path.splitext(path)[0]):
                    self._of_path.setdefault(spelled, key)
        self._of_path |= {key: key for key in path_of}
        self._paths = Names(self._of_path)

    def of_xml(self, key: str) -> str | None:
        """Return the key of the image that belongs to an XML file's key, also where it is spelled otherwise.

        All XML files may be in one folder, and the images in a folder per split.
        """
        return self._keys.find(key) or self._of_stem.get(key)

    def of_filename(self, name: str) -> str | None:
        """Return the key of the image that <filename> names."""
        return self._keys.find(os.path.splitext(name)[0])

    def of_line(self, line: str) -> str | None:
        """Return the key of the image that a line of a split list names: with or without suffix and folder.

        Where the dataset is some folders below the root, a stem alone is enough if only one image has it.
        """
        stem, suffix = os.path.splitext(line)
        # A name may have a suffix that its image does not have. A dot inside a stem must not be taken for one.
        for name in (line, *([] if " " in suffix else [stem])):
            found = self._paths.find(name)
            if found is not None:
                return self._of_path[found]
            if name in self._of_stem:
                return self._of_stem[name]
        return None

    def hint(self, label: Path) -> str:
        """Return a hint where the missing image of a label may be."""
        return self._others.hint(label.name)
