"""Pictures as a folder of images or as a video, whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from src.foundation.atomic import whole_file, whole_folder
from src.foundation.prepared import TRAINING_SUFFIXES
from src.reporting.boxes import Pixels

MPEG_4 = cv2.VideoWriter.fourcc(*"mp4v")
"""The codec that every build of opencv-python can write."""

Show = Callable[[str, Pixels], None]
"""Adds a picture, (H, W, 3), BGR, with a name."""


@contextmanager
def image_files(folder: Path) -> Iterator[Show]:
    """Yield a function that writes pictures under their names. The name of a format that OpenCV cannot write gets .jpg.

    The folder is there when the block has ended without an exception.
    """
    with whole_folder(folder) as partial:

        def show(name: str, picture: Pixels) -> None:
            path = partial / name
            if path.suffix.lower() not in TRAINING_SUFFIXES:
                path = path.with_name(f"{path.name}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(path), picture):
                raise _not_written(folder / name)

        yield show


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[Show]:
    """Yield a function that adds pictures to an .mp4 file. All get the size of the first: a video has one size.

    The file is there when the block has ended without an exception.
    """
    writer: cv2.VideoWriter | None = None
    size_wh, written = (0, 0), 0
    with whole_file(path) as partial:

        def show(name: str, picture: Pixels) -> None:
            nonlocal writer, size_wh, written
            if writer is None:
                size_wh = (picture.shape[1], picture.shape[0])
                writer = cv2.VideoWriter(str(partial), cv2.CAP_FFMPEG, MPEG_4, fps, size_wh)
                if not writer.isOpened():
                    raise _not_written(path)
            if (picture.shape[1], picture.shape[0]) != size_wh:  # OpenCV would leave it out without a word
                picture = cv2.resize(picture, size_wh).astype(np.uint8, copy=False)
            writer.write(picture)
            written += 1

        try:
            yield show
        finally:
            if writer is not None:
                writer.release()
        if _length(partial) != written:  # OpenCV tells of no error, such as a full disk
            raise _not_written(path)


def _length(video: Path) -> int:
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    return frames


def _not_written(path: Path) -> OSError:
    return OSError(errno.EIO, "OpenCV could not write it", str(path))
