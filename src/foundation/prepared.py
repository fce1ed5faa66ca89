"""The names of the prepared dataset, which prepare-labels writes and every later stage reads."""

from __future__ import annotations

from pathlib import Path

import yaml

SPLITS = ("train", "val", "test")

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Image files that both Pillow and OpenCV decode: Pillow checks them, OpenCV reads them for training."""


def class_names(prepared: Path) -> list[str]:
    """Return the names of the classes, by index."""
    names = yaml.safe_load((prepared / "data.yaml").read_text(encoding="utf-8"))["names"]
    return [names[index] for index in sorted(names)] if isinstance(names, dict) else list(names)


def images_of(prepared: Path, split: str) -> list[Path]:
    """Return the images of train, val or test, sorted by name."""
    return sorted((prepared / "images" / split).iterdir())
