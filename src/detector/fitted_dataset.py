"""ultralytics' dataset with images of one size, (height, width), for training and validation.

ultralytics itself trains on squares, and validates on squares or on rectangles that differ from batch to batch. For a
square the images here are the same as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ultralytics.data.augment import Compose, LetterBox, Mosaic, RandomPerspective
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.yolo.detect import DetectionValidator

from src.foundation.image_size import ImageSize, fitted_hw, height_width


class FittedDataset(YOLODataset):
    """A dataset whose images and augmentations have the size `size_hw`, (height, width), px."""

    size_hw: tuple[int, int]
    imgsz: int | tuple[int, int]

    def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> Any:
        """Return an image that fits into the size, its own size, and the size that it has now.

        With `rect_mode=False` ultralytics scales an image to exactly `imgsz`.
        """
        longer, self.imgsz = self.imgsz, fitted_hw(self.labels[i]["shape"], self.size_hw)
        try:
            return super().load_image(i, rect_mode=False)
        finally:
            self.imgsz = longer

    def build_transforms(self, hyp: Any) -> Compose:
        """Return the augmentations, also when ultralytics closes the mosaic."""
        transforms = super().build_transforms(hyp)
        _fit_transforms(transforms, self.size_hw)
        return transforms


class FittedValidator(DetectionValidator):
    """ultralytics' validator, with every image in the same size.

    Args:
        imgsz: of all images.
        args: under ultralytics' names, without `imgsz`.
        _callbacks: see ultralytics.
    """

    def __init__(self, imgsz: ImageSize, args: dict[str, Any], _callbacks: Any = None) -> None:
        super().__init__(args={**args, "imgsz": max(height_width(imgsz)), "rect": False}, _callbacks=_callbacks)
        self.size = imgsz

    def build_dataset(self, img_path: str, mode: str = "val", batch: int | None = None) -> FittedDataset:
        """Return a split of the dataset."""
        return fit(super().build_dataset(img_path, mode, batch), self.size)


def fit(dataset: YOLODataset, imgsz: ImageSize) -> FittedDataset:
    """Give the images of a dataset one size, in place, and return it.

    Args:
        dataset: for training or validation, built without ultralytics' rectangles (`rect`).
        imgsz: the size.
    """
    dataset.__class__ = FittedDataset  # ultralytics chooses the class while it builds
    assert isinstance(dataset, FittedDataset)
    dataset.size_hw = height_width(imgsz)
    dataset.imgsz = max(dataset.size_hw)
    _fit_transforms(dataset.transforms, dataset.size_hw)
    return dataset


def _fit_transforms(transforms: Any, size_hw: tuple[int, int]) -> None:
    """Give all transforms whose result has a size this one, in place."""
    height, width = size_hw
    for one in _all_of(transforms):
        if isinstance(one, LetterBox):
            one.new_shape = size_hw
        elif isinstance(one, RandomPerspective):
            one.size = (width, height)
        elif isinstance(one, Mosaic):
            # Four images meet in a point of a square of twice the longer side, and RandomPerspective cuts its middle
            # out. The point is drawn from the borders' distances: within this middle, as for squares.
            one.border = (height // 2 - one.imgsz, width // 2 - one.imgsz)


def _all_of(transform: Any) -> Iterator[Any]:
    yield transform
    inner = getattr(transform, "transforms", None) if isinstance(transform, Compose) else None
    for one in (*(inner or ()), getattr(transform, "pre_transform", None)):
        if one is not None:
            yield from _all_of(one)
