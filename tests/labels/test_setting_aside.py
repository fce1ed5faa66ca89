"""Labels that are set aside: how many, of which images, and what remains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src.foundation.prepared import UNLABELLED
from src.labels.dataset import Dataset, LabelledImage
from src.labels.setting_aside import set_labels_aside


def image(number: int, split: str, index: int) -> LabelledImage:
    box = np.array([[1.0, 1, 5, 5]])
    return LabelledImage(Path(f"{number}.png"), (8, 8), box, np.array([index], dtype=np.int64), split)


@pytest.fixture
def dataset() -> Dataset:
    """40 training images, a quarter of them of the second class, and 4 of val and of test each."""
    train = [image(number, "train", int(number % 4 == 0)) for number in range(40)]
    others = [image(40 + number, split, 0) for number in range(4) for split in ("val", "test")]
    return Dataset(("a", "b"), (*train, *others))


@pytest.mark.parametrize(("fraction", "kept"), [(0.1, 4), (0.5, 20), (0.001, 1)])
def test_the_share_of_the_training_images_keeps_its_labels(dataset: Dataset, fraction: float, kept: int) -> None:
    found = set_labels_aside(dataset, fraction, seed=0).images
    assert sum(each.split == "train" for each in found) == kept
    assert all(len(each.classes) == (each.split != UNLABELLED) == len(each.boxes_xyxy) for each in found)
    assert [each.path for each in found] == [each.path for each in dataset.images]


def test_every_class_keeps_its_share(dataset: Dataset) -> None:
    found = [each for each in set_labels_aside(dataset, 0.4, seed=0).images if each.split == "train"]
    assert (len(found), sum(int(each.classes[0]) for each in found)) == (16, 4)


def test_val_and_test_keep_all_labels(dataset: Dataset) -> None:
    held_out = [each for each in set_labels_aside(dataset, 0.1, seed=0).images if each.split in ("val", "test")]
    assert held_out == [each for each in dataset.images if each.split != "train"]


def test_the_seed_chooses(dataset: Dataset) -> None:
    def kept(seed: int) -> set[Path]:
        return {each.path for each in set_labels_aside(dataset, 0.5, seed).images if each.split == "train"}

    assert kept(0) == kept(0) != kept(1)


def test_with_all_labels_nothing_changes(dataset: Dataset) -> None:
    assert set_labels_aside(dataset, 1.0, seed=0) is dataset
