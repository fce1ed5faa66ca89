"""The embedded dataset: detection scenes composed from the 1,797 handwritten digits of scikit-learn.

The digits (8x8 px, 16 grey levels; UCI "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998)
are divided among train, val and test before scenes are composed, so no digit occurs in two splits. Each scene has its
own random generator, seeded with (seed, index of the split, index of the scene): adding a scene changes no other scene.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from src.foundation.prepared import SPLITS
from src.labels.dataset import Dataset, LabelledImage

CLASS_NAMES = tuple("0123456789")
DIGIT_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
UPSCALED_PX = 64  # a digit is enlarged to this side, with cubic interpolation, before it is rotated and scaled
INK = 0.35  # of full ink: pixels above this threshold are inside the digit's bounding box
MAX_OVERLAP = 0.25  # of the smaller box: a larger overlap would hide a labelled digit
PLACEMENTS = 20  # attempts to find a free position for a digit; after that the digit is left out

Random = np.random.Generator


def compose_scenes(
    folder: Path,
    *,
    images_per_split: dict[str, int],
    size_px: int,
    digits_per_scene: tuple[int, int],
    digit_size: tuple[float, float],
    rotation_deg: float,
    seed: int,
    on_scene: Callable[[], None] = lambda: None,
) -> Dataset:
    """Write scenes as PNG files into `folder` and return them with their boxes.

    Args:
        images_per_split: number of scenes of train, val and test.
        size_px: side of a scene, px.
        digits_per_scene: smallest and largest number of digits to draw for a scene.
        digit_size: smallest and largest side of a digit, as fractions of the scene's side.
        rotation_deg: largest rotation of a digit, in either direction.
        seed: of the split of the digits and of all scenes.
        on_scene: called after each scene.
    """
    digits = _digits_by_split(seed)
    images = []
    for split_index, split in enumerate(SPLITS):
        glyphs, classes = digits[split]
        for index in range(images_per_split[split]):
            random = np.random.default_rng([seed, split_index, index])
            scene, boxes, drawn = _compose(random, glyphs, classes, size_px, digits_per_scene, digit_size, rotation_deg)
            path = folder / f"{split}_{index:05d}.png"
            cv2.imwrite(str(path), scene)
            images.append(LabelledImage(path, (size_px, size_px), boxes, drawn, split))
            on_scene()
    return Dataset(CLASS_NAMES, tuple(images))


def _digits_by_split(seed: int) -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Return for each split the ink (N, 8, 8), in [0, 1], and the classes (N,). No digit is in two splits."""
    from sklearn.datasets import load_digits  # here: it takes a second to import, and other data does not need it
    from sklearn.model_selection import train_test_split

    source = load_digits()
    ink, classes = (source.images / 16).astype(np.float32), source.target.astype(np.int64)
    train, rest = train_test_split(
        np.arange(len(ink)), train_size=DIGIT_SHARES["train"], stratify=classes, random_state=seed
    )
    val_share = DIGIT_SHARES["val"] / (DIGIT_SHARES["val"] + DIGIT_SHARES["test"])
    val, test = train_test_split(rest, train_size=val_share, stratify=classes[rest], random_state=seed)
    return {split: (ink[chosen], classes[chosen]) for split, chosen in zip(SPLITS, (train, val, test), strict=True)}


def _compose(
    random: Random,
    glyphs: NDArray[np.float32],
    classes: NDArray[np.int64],
    size_px: int,
    digits_per_scene: tuple[int, int],
    digit_size: tuple[float, float],
    rotation_deg: float,
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64]]:
    """Return a scene (H, W, 3), its boxes (N, 4) xyxy px and their classes (N,)."""
    scene = _background(random, size_px)
    boxes: list[NDArray[np.float64]] = []
    drawn: list[int] = []
    for _ in range(random.integers(digits_per_scene[0], digits_per_scene[1] + 1)):
        chosen = int(random.integers(len(glyphs)))
        angle_deg, side_px = random.uniform(-rotation_deg, rotation_deg), random.uniform(*digit_size) * size_px
        ink = _turned(glyphs[chosen], angle_deg, side_px)
        left_top = _free_corner(random, ink, boxes, size_px)
        if left_top is None:
            continue
        _paint(random, scene, ink, left_top)
        boxes.append(_box(ink, left_top))
        drawn.append(int(classes[chosen]))
    noise = random.normal(0, random.uniform(2, 12), scene.shape)
    noisy = np.clip(scene + noise, 0, 255).astype(np.uint8)
    return noisy, np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(drawn, dtype=np.int64)


def _background(random: Random, size_px: int) -> NDArray[np.float32]:
    """Return a smooth random colour field with up to five lines: (H, W, 3), 0..255."""
    cells = int(random.integers(2, 6))
    coarse = random.uniform(30, 225, (cells, cells, 3)).astype(np.float32)
    scene: NDArray[np.float32] = np.clip(
        cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC), 0, 255, dtype=np.float32
    )
    for _ in range(random.integers(0, 6)):
        start, end = random.integers(0, size_px, 2).tolist(), random.integers(0, size_px, 2).tolist()
        colour = random.uniform(0, 255, 3).tolist()
        cv2.line(scene, start, end, colour, int(random.integers(1, 3)), cv2.LINE_AA)
    return scene


def _turned(glyph: NDArray[np.float32], angle_deg: float, side_px: float) -> NDArray[np.float32]:
    """Return the ink of the digit, rotated, cropped and scaled to a longer side of `side_px`."""
    smooth = cv2.resize(np.pad(glyph, 2), (UPSCALED_PX, UPSCALED_PX), interpolation=cv2.INTER_CUBIC)
    centre = (UPSCALED_PX / 2, UPSCALED_PX / 2)
    turned = cv2.warpAffine(smooth, cv2.getRotationMatrix2D(centre, angle_deg, 1), (UPSCALED_PX, UPSCALED_PX))
    rows, columns = np.nonzero(turned > INK)
    tight = turned[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = side_px / max(tight.shape)
    size_wh = (max(2, round(tight.shape[1] * scale)), max(2, round(tight.shape[0] * scale)))
    return np.clip(cv2.resize(tight, size_wh, interpolation=cv2.INTER_AREA), 0, 1, dtype=np.float32)


def _free_corner(
    random: Random, ink: NDArray[np.float32], boxes: list[NDArray[np.float64]], size_px: int
) -> tuple[int, int] | None:
    """Return left and top, px, of a position where no box overlaps by more than MAX_OVERLAP; None if none was found."""
    height, width = ink.shape
    for _ in range(PLACEMENTS):
        left, top = int(random.integers(0, size_px - width + 1)), int(random.integers(0, size_px - height + 1))
        if all(_overlap(_box(ink, (left, top)), other) <= MAX_OVERLAP for other in boxes):
            return left, top
    return None


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the intersection of two xyxy boxes as a fraction of the smaller box's area."""
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


def _paint(random: Random, scene: NDArray[np.float32], ink: NDArray[np.float32], left_top: tuple[int, int]) -> None:
    """Blend the digit into `scene`, in a random colour that contrasts with the background behind it."""
    left, top = left_top
    region = scene[top : top + ink.shape[0], left : left + ink.shape[1]]
    behind = region.mean(axis=(0, 1))
    contrast = random.uniform(60, 160)
    # Away from the nearer end of the scale: clipping to 0..255 would reduce the contrast.
    colour = np.where(behind > 127, behind - contrast, behind + contrast) + random.uniform(-30, 30, 3)
    region += ink[..., None] * (np.clip(colour, 0, 255).astype(np.float32) - region)


def _box(ink: NDArray[np.float32], left_top: tuple[int, int]) -> NDArray[np.float64]:
    left, top = left_top
    return np.array([left, top, left + ink.shape[1], top + ink.shape[0]], dtype=np.float64)
