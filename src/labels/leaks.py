"""Find pictures that stand in two splits: a score on them says what was learned by heart.

The same bytes in two splits are a fault. Near duplicates (see near_duplicates.py) may be two frames of one video or two
cells that look alike, so a person has to decide: they are listed with pictures, and are a fault only under `strict`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from ultralytics.utils.patches import imread

from src.foundation.prepared import SPLITS
from src.foundation.processors import usable_processors
from src.labels.dataset import Dataset, LabelledImage
from src.labels.faults import Faults
from src.labels.near_duplicates import MOST_BITS, Fingerprint, fingerprint_of, nearest


@dataclass(frozen=True)
class Leak:
    """Two images of different splits that show the same picture. `bits`: how many of their hashes' 256 bits differ."""

    image: LabelledImage
    other: LabelledImage
    bits: int


def check_leaks(dataset: Dataset, faults: Faults, *, strict: bool) -> list[Leak]:
    """Compare the splits and return the near duplicates, the closest first; all have a note or, if `strict`, a fault.

    Each image of val is compared with train, and each image of test with train and val; only the nearest one counts.

    Args:
        dataset: its images may have no split if `faults` contains a fault.
        faults: the same bytes in two splits are always a fault.
        strict: near duplicates are faults.
    """
    same = _same_bytes(dataset.images)
    for image, other in same:
        what = f"has the same bytes as {faults.name(other.path)}: one is in {image.split}, the other in {other.split}"
        faults.add(image.path, what, "remove one of them, or put both into one split")
    known = {image.path for image, _ in same}
    leaks = [leak for leak in _near_duplicates(dataset.images) if leak.image.path not in known]
    for leak in leaks:
        where = f"this is in {leak.image.split}, {faults.name(leak.other.path)} in {leak.other.split}"
        what = f"near duplicate across splits: {where}"
        if strict:
            todo = "put both into one split (for frames of a video: group_by), or set prepare_labels.strict: false"
            faults.add(leak.image.path, what, todo)
        else:
            faults.note(leak.image.path, "near_duplicate", f"{what} ({leak.bits} of 256 bits differ)")
    return leaks


def _same_bytes(images: Sequence[LabelledImage]) -> list[tuple[LabelledImage, LabelledImage]]:
    """Return the images that repeat a file of an earlier split (train, val, test), each with the first such file."""
    of_size: dict[int, list[LabelledImage]] = defaultdict(list)
    for image in images:
        of_size[image.path.stat().st_size].append(image)
    # Only files of one size can be the same, so few files have to be read.
    candidates = [image for some in of_size.values() if len({image.split for image in some}) > 1 for image in some]
    with ThreadPoolExecutor(usable_processors()) as pool:
        digests = list(pool.map(_md5, (image.path for image in candidates)))
    first: dict[str, LabelledImage] = {}
    found = []
    for image, digest in sorted(zip(candidates, digests, strict=True), key=lambda pair: _order(pair[0])):
        other = first.setdefault(digest, image)
        if other.split != image.split:
            found.append((image, other))
    return found


def _near_duplicates(images: Sequence[LabelledImage]) -> list[Leak]:
    images = sorted((image for image in images if image.split is not None), key=_order)
    prints = _fingerprints(images)
    leaks = []
    for position, split in enumerate(SPLITS[1:], start=1):
        rows = [index for index, image in enumerate(images) if image.split == split]
        others = [index for index, image in enumerate(images) if image.split in SPLITS[:position]]
        if rows and others:
            for row, index, bits in zip(rows, *nearest(prints[rows], prints[others]), strict=True):
                if bits <= MOST_BITS:
                    leaks.append(Leak(images[row], images[others[index]], int(bits)))
    return sorted(leaks, key=lambda leak: leak.bits)


def _fingerprints(images: Iterable[LabelledImage]) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    with ThreadPoolExecutor(usable_processors()) as pool:
        prints = list(pool.map(_fingerprint, images))
    return np.array(prints, dtype=np.uint64).reshape(-1, 4)


def _fingerprint(image: LabelledImage) -> Fingerprint:
    if image.fingerprint is not None:
        return image.fingerprint
    pixels = imread(image.path, cv2.IMREAD_COLOR)
    assert pixels is not None, f"{image.path}: cannot be read"
    return fingerprint_of(pixels)


def _order(image: LabelledImage) -> tuple[int, str]:
    return SPLITS.index(image.split) if image.split in SPLITS else len(SPLITS), image.path.as_posix()


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
