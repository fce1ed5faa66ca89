"""Find the images that files of detections name: by path, file name or stem, as the dataset or the user's folder has
them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from src.labels.names import canonical


class ImageNames:
    """Images by any of their names.

    An image of the prepared dataset is a link to the user's own, so both paths are its names: where two images of a
    user have the same stem, one of them has another in the dataset.
    """

    def __init__(self, images: Iterable[Path]) -> None:
        self._paths_of: dict[str, list[tuple[PurePosixPath, Path]]] = {}
        for image in images:
            for path in dict.fromkeys([image.absolute(), image.resolve()]):
                known = PurePosixPath(canonical(path.as_posix()))
                for key in dict.fromkeys([known.name, known.stem]):
                    self._paths_of.setdefault(key, []).append((known, image))

    def find(self, name: str) -> list[Path]:
        """Return the images that a name fits: none, the one, or several that it does not tell apart.

        Args:
            name: a file name, a stem, or a path, of which only the end has to be that of the image's path. Folders are
                used only to tell images of one name apart.
        """
        given = PurePosixPath(canonical(name))
        fitting = self._paths_of.get(given.name, [])
        images = list(dict.fromkeys(image for _, image in fitting))
        if len(images) < 2 or len(given.parts) < 2:
            return images
        ends = posixpath.join("/", *given.parts[:-1]).lstrip("/")
        return list(dict.fromkeys(image for path, image in fitting if f"/{path.parent}".endswith(f"/{ends}")))
