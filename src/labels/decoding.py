"""Decode images as training does: by ultralytics' reader, which is OpenCV. Pillow reads the header and finds damage.

The size of a file, its number of pixels and the memory of all decoders are limited. ultralytics opens every image by
Pillow, too, so an image has to pass both.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from tqdm import tqdm
from ultralytics.utils.patches import imread

from src.foundation.prepared import TRAINING_SUFFIXES
from src.foundation.processors import usable_processors
from src.labels.near_duplicates import Fingerprint, fingerprint_of

SUFFIX_OF = {"BMP": ".bmp", "JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp"}
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
SMALLEST_SIDE_PX = 10  # ultralytics treats smaller images as corrupt and drops them from training without an error
MOST_PIXELS = 89_478_485  # Pillow warns above it, in training as well, and refuses twice as many
MOST_BYTES = 2**29  # of an image file; 16-bit RGB of MOST_PIXELS, uncompressed
MOST_PIXELS_AT_ONCE = 2 * MOST_PIXELS  # of all threads; decoding takes up to 16 bytes per pixel
MOST_PAGES = 32  # of a TIFF with previews; OpenCV decodes all of them
REDUCED_FROM_PX = 1024  # a JPEG with longer sides is decoded at an eighth: it still reads all bytes, in half the time
TOO_DIM, NEARLY_BLACK = 64, 16  # of 256, for 16-bit images: without the two, or four, highest bits

# Findings of OpenCV and Pillow become faults in a list; on the screen they would have no file name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Decoded:
    """An image that training can read.

    Attributes:
        size_wh: width and height, px, after EXIF orientation.
        fingerprint: of its content, to find near duplicates.
        brightest_of_16_bits: largest value, 0 to 255, that training gets of a 16-bit image; None for 8 bits.
    """

    size_wh: tuple[int, int]
    fingerprint: Fingerprint
    brightest_of_16_bits: int | None = None


class _Refused(Exception):
    """Its text is the reason why an image cannot be used."""


@dataclass(frozen=True)
class _Header:
    format: str
    size_wh: tuple[int, int]
    has_16_bits: bool


class _Budget:
    """Lets threads pass while their pixels sum up to at most a limit; one image alone always passes."""

    def __init__(self, most: int) -> None:
        self._most, self._used = most, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + pixels <= self._most)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()


_BUDGET = _Budget(MOST_PIXELS_AT_ONCE)


def decode_all(paths: Sequence[Path]) -> Iterator[Decoded | str]:
    """Decode images. Yield what later steps need of each, or the reason why it cannot be used."""
    with ThreadPoolExecutor(usable_processors()) as pool:  # decoding releases the GIL
        decoded = pool.map(decode, paths)
        yield from tqdm(decoded, desc="checking images", total=len(paths), unit="image", mininterval=1)


def decode(path: Path) -> Decoded | str:
    """Decode an image. Return its properties for later steps, or the reason why it cannot be used."""
    try:
        return _decode(path)
    except _Refused as refused:
        return str(refused)
    except (UnidentifiedImageError, ModuleNotFoundError):  # the latter if ultralytics made Pillow look for HEIF
        return f"not a readable image (none of {', '.join(FORMATS)})"
    except Exception as error:  # Pillow raises a dozen types on broken bytes, also SyntaxError and struct.error
        reason = " ".join(str(error).split())
        return f"not a readable image ({reason or type(error).__name__})"


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Return an image that `decode` accepts as training gets it: (H, W, 3), RGB, upright."""
    image = imread(path)
    assert image is not None, f"{path}: cannot be read"
    rgb: NDArray[np.uint8] = np.ascontiguousarray(image[..., ::-1])
    return rgb


def has_image_header(path: Path) -> bool:
    """Return whether the file's first bytes are those of an image that is read here."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # Pillow raises a dozen types on other files
        return False


def training_suffix(path: Path) -> str:
    """Return the suffix under which training finds an image: its own, or that of its format.

    ultralytics looks at suffixes only; it passes over .jfif and files without a suffix.
    """
    suffix = path.suffix.lower()
    if suffix in TRAINING_SUFFIXES:
        return suffix
    with Image.open(path, formats=FORMATS) as image:
        return SUFFIX_OF[str(image.format)]


def _decode(path: Path) -> Decoded:
    size_bytes = path.stat().st_size
    if size_bytes > MOST_BYTES:
        raise _Refused(f"{size_bytes / 2**20:.0f} MiB, more than the limit of {MOST_BYTES / 2**20:.0f} MiB")
    with _open(path) as image:
        header = _header(image, path)
        with _BUDGET.take(header.size_wh[0] * header.size_wh[1]):
            # At an eighth of a JPEG's size Pillow still reads all bytes and finds damage that OpenCV passes over.
            image.draft(image.mode, (1, 1))
            image.load()
            return _as_in_training(path, header)


def _open(path: Path) -> ImageFile.ImageFile:
    try:
        return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise _too_many_pixels(int(found[1]) if found else 2 * MOST_PIXELS) from error


def _too_many_pixels(count: int) -> _Refused:
    return _Refused(f"{count:,} pixels, more than the limit of {MOST_PIXELS:,} pixels (cut it into tiles)")


def _header(image: ImageFile.ImageFile, path: Path) -> _Header:
    """Check what the header tells, before anything is decoded."""
    size_wh, name = image.size, str(image.format)
    if min(size_wh) < SMALLEST_SIDE_PX:
        raise _Refused(f"{size_wh[0]}x{size_wh[1]} px, smaller than the minimum of {SMALLEST_SIDE_PX} px for training")
    if size_wh[0] * size_wh[1] > MOST_PIXELS:
        raise _too_many_pixels(size_wh[0] * size_wh[1])
    if name == "TIFF" and path.suffix.lower() not in (".tif", ".tiff"):
        # ultralytics decodes a TIFF differently if its name has another suffix.
        raise _Refused(f"a TIFF with the suffix {path.suffix!r} (rename it to .tif)")
    has_16_bits = name in ("PNG", "TIFF") and ";16" in str(image.tile)
    _check_pages(image, name)
    return _Header(name, size_wh, has_16_bits)


def _check_pages(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse an image with several pages or frames, of which training would get the first one only.

    A TIFF may contain smaller copies of its first page. An MPO is a photograph with a preview behind it.
    """
    if name == "MPO" or (name != "TIFF" and getattr(image, "n_frames", 1) == 1):
        return
    first_wh = image.size
    for page in range(1, MOST_PAGES + 1):
        try:
            image.seek(page)
        except EOFError:
            break
        if name != "TIFF" or image.size[0] * image.size[1] >= first_wh[0] * first_wh[1] or page == MOST_PAGES:
            raise _Refused("several pages or frames, of which training would read only the first (save one per file)")
    image.seek(0)


def _as_in_training(path: Path, header: _Header) -> Decoded:
    """Decode an image by the reader that training uses."""
    reduced = header.format in ("JPEG", "MPO") and min(header.size_wh) >= REDUCED_FROM_PX
    pixels = imread(path, cv2.IMREAD_REDUCED_COLOR_8 if reduced else cv2.IMREAD_COLOR)
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        kind = "float or 32-bit values" if header.format == "TIFF" else "this variant"
        raise _Refused(
            f"OpenCV, which reads images for training, cannot decode it: {header.format} of {kind} or an unusual "
            "compression (save it as 8-bit PNG or JPEG)"
        )
    height, width = pixels.shape[:2]
    if reduced:  # the full size is known up to the turn by EXIF
        longer, shorter = sorted(header.size_wh, reverse=True)
        size_wh = (longer, shorter) if width >= height else (shorter, longer)
    else:
        size_wh = (width, height)
    brightest = int(pixels.max()) if header.has_16_bits else None
    return Decoded(size_wh, fingerprint_of(pixels), brightest)
