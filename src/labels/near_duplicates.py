"""Find images that show the same picture: by a perceptual hash, which small changes of the pixels hardly change.

The hash is imagehash's phash: the signs of the 16x16 lowest frequencies of the discrete cosine transform of the grey
image, 256 bits. Two images are near duplicates if at most MOST_BITS bits differ. Copies that were compressed again,
resized, made brighter or cropped by 2% lie below it, different photographs of the same kind above it. Mirrored copies,
turned copies and larger crops are not found. imagehash's other hashes, and its 64 bits, do not separate small crops
from different images.
"""

from __future__ import annotations

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

HASH_SIDE = 16
THUMBNAIL_PX = 4 * HASH_SIDE  # to which phash resizes an image
MOST_BITS = 64
_ROWS_AT_ONCE = 256  # of a table of distances: 256 rows for 100,000 images are 200 MB

Fingerprint = NDArray[np.uint64]
"""(4,) the 256 bits of the hash."""


def fingerprint_of(pixels: NDArray[np.uint8]) -> Fingerprint:
    """Return the hash of an image (H, W, 3), BGR."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    # OpenCV averages areas: it separates as well as phash's own resampling, in a third of the time.
    small = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    bits = imagehash.phash(Image.fromarray(small), hash_size=HASH_SIDE).hash
    return np.packbits(bits.ravel()).view(np.uint64)


def nearest(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each of `some` fingerprints (N, 4) the index of the nearest of `others` (M, 4), and the bits between.

    >>> some, others = np.zeros((1, 4), np.uint64), np.array([[7, 0, 0, 0], [1, 0, 0, 1]], np.uint64)
    >>> [part.tolist() for part in nearest(some, others)]
    [[1], [2]]

    Returns:
        (N,) indices, the first one of equally near ones, and (N,) distances.
    """
    indices, bits = np.zeros(len(some), np.int64), np.zeros(len(some), np.int64)
    for start in range(0, len(some), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        between = np.zeros((len(some[rows]), len(others)), np.uint16)
        for word in range(others.shape[1]):
            between += np.bitwise_count(some[rows, None, word] ^ others[None, :, word])
        indices[rows] = between.argmin(axis=1)
        bits[rows] = between.min(axis=1)
    return indices, bits
