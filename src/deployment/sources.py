"""What a detector looks at: an image, a folder of images, a video, a camera or a stream, frame by frame.

A frame that cannot be read is a frame with a fault, not an error: what comes after it is still looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Before OpenCV is imported: a damaged frame would put lines of FFmpeg between those of this project.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2

from src.deployment.images import read_image
from src.foundation.errors import UserError
from src.foundation.prepared import IMAGE_SUFFIXES

PATIENCE_MS = 10_000
"""How long to wait for a stream to open, and for its next frame."""

MOST_FAILURES = 30
"""After so many frames in a row that cannot be read, the rest of a video is given up; its header may promise any
number of frames."""

SLOWEST_FPS, FASTEST_FPS, USUAL_FPS = 1.0, 240.0, 25.0
"""A camera or stream may give no rate, or that of its clock: then a usual one is taken."""


@dataclass(frozen=True)
class Frame:
    """An image, or a frame of a video.

    Attributes:
        name: of the image, relative to its folder; of the video, camera or stream.
        number: of the frame, from 0; None for an image.
        pixels: (H, W, 3), BGR; None if it could not be read.
        fault: why it could not be read; None if it could.
    """

    name: str
    number: int | None
    pixels: NDArray[np.uint8] | None
    fault: str | None = None

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name}, frame {self.number}"


class Images:
    """Image files.

    Args:
        folder: their names are relative to it.
        paths: of the files.
        passed_over: the number of files in the folder that are no images.

    Attributes:
        length: the number of images.
        fps: None, as this is no video.
    """

    fps: float | None = None

    def __init__(self, folder: Path, paths: list[Path], passed_over: int = 0) -> None:
        self.folder, self.paths, self.passed_over = folder, paths, passed_over
        self.length: int | None = len(paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images."""
        for path in self.paths:
            name = path.relative_to(self.folder).as_posix()
            try:
                yield Frame(name, None, read_image(path))
            except UserError:
                yield Frame(name, None, None, "cannot be read as an image")


class Video:
    """The frames of a video, a camera or a stream.

    Args:
        capture: it is open.
        name: of the video.

    Attributes:
        length: the number of frames; None where it is not known, as of a camera.
        fps: frames per second.
    """

    passed_over = 0

    def __init__(self, capture: cv2.VideoCapture, name: str) -> None:
        self.capture, self.name = capture, name
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.length: int | None = int(announced) if announced > 0 else None
        told = capture.get(cv2.CAP_PROP_FPS)
        self.fps: float | None = told if SLOWEST_FPS <= told <= FASTEST_FPS else USUAL_FPS

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. A video ends with its last announced frame, a camera or stream when it gives no more."""
        number, failures = 0, 0
        try:
            while True:
                read, pixels = self.capture.read()
                failures = 0 if read else failures + 1
                if read:
                    yield Frame(self.name, number, pixels)
                elif self.length is None:
                    yield Frame(self.name, number, None, "the stream broke off")
                    return
                elif number >= self.length:
                    return
                elif failures == MOST_FAILURES:
                    yield Frame(self.name, number, None, f"nor can the rest to frame {self.length - 1} be read")
                    return
                else:
                    yield Frame(self.name, number, None, "cannot be decoded")
                number += 1
        finally:
            self.capture.release()


Source = Images | Video


def open_source(text: str, folder: Path, name: str) -> Source:
    """Return what a text names: the number of a camera, a URL, or the path of an image, a folder or a video.

    Args:
        text: digits are always a camera.
        folder: paths are relative to it.
        name: for messages and files: a URL may hold a password.

    Raises:
        UserError: nothing is there, a folder has no images, or a video, camera or stream cannot be opened.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are told by this module
    if text.isdecimal():
        return _opened(cv2.VideoCapture(int(text)), f"camera {name}")
    if "://" in text:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE_MS]
        return _opened(cv2.VideoCapture(text, cv2.CAP_FFMPEG, limits), name)
    path = folder / Path(text).expanduser()
    if path.is_dir():
        files = sorted(found for found in path.rglob("*") if found.is_file())
        images = [found for found in files if _is_image(found)]
        if not images:
            raise UserError(f"{name}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in the folder, found none")
        return Images(path, images, passed_over=len(files) - len(images))
    if not path.exists():
        raise UserError(f"{name}: there is no such image, folder or video")
    if _is_image(path):
        return Images(path.parent, [path])
    return _opened(cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), path.name)


def _is_image(path: Path) -> bool:
    """Return whether a file is called an image, or is one without a suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES or (not path.suffix and cv2.haveImageReader(str(path)))


def _opened(capture: cv2.VideoCapture, name: str) -> Video:
    if not capture.isOpened():
        raise UserError(f"{name}: cannot be opened as a video")
    return Video(capture, name)
