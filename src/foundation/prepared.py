"""The names of the prepared dataset, which prepare-labels writes and every later stage reads."""

from __future__ import annotations

from pathlib import Path

import yaml

SPLITS = ("train", "val", "test")

UNLABELLED = "unlabelled"
"""The folder beside those of the splits with the training images whose labels were set aside."""

TRAINING_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Image files that ultralytics finds by their names, and that both Pillow and OpenCV decode."""

IMAGE_SUFFIXES = TRAINING_SUFFIXES | {".jfif", ".jpe"}
"""Image files of a user's folder: ultralytics passes over the last two, which are other names of .jpg."""


def class_names(prepared: Path) -> list[str]:
    """Return the names of the classes, by index."""
    names = yaml.safe_load((prepared / "data.yaml").read_text(encoding="utf-8"))["names"]
    return [names[index] for index in sorted(names)] if isinstance(names, dict) else list(names)


def images_of(prepared: Path, split: str) -> list[Path]:
    """Return the images of train, val or test, sorted by name."""
    return sorted((prepared / "images" / split).iterdir())


def unlabelled_images_of(prepared: Path) -> list[Path]:
    """Return the training images whose labels were set aside, sorted by name; none if all labels are used."""
    return images_of(prepared, UNLABELLED) if (prepared / "images" / UNLABELLED).is_dir() else []
