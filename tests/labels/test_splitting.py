from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src.labels.dataset import Dataset, LabelledImage
from src.labels.faults import Faults
from src.labels.splitting import complete_splits, stratify


def images(count: int, split: str | None = None) -> tuple[LabelledImage, ...]:
    return tuple(
        LabelledImage(Path(f"{split}{index:04d}.jpg"), (10, 10), np.zeros((1, 4)), np.array([index % 2]), split)
        for index in range(count)
    )


def complete(
    dataset: Dataset, *, val_fraction: float = 0.2, test_fraction: float = 0.2, seed: int = 0
) -> tuple[list[str | None], Faults]:
    faults = Faults(Path("root"))
    done = complete_splits(dataset, faults, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
    return [image.split for image in done.images], faults


@pytest.mark.parametrize("seed", range(5))
def test_every_class_has_its_share_in_every_split(seed: int) -> None:
    """A random split leaves the class of ten images out of a split of 15% in about one of five trials."""
    random = np.random.default_rng(seed)
    has_class = random.random((1000, 6)) < (0.7, 0.4, 0.2, 0.1, 0.05, 0.0)
    has_class[:10, 5] = True
    chosen = stratify(has_class, [0.7, 0.15, 0.15], seed)
    assert np.bincount(chosen).tolist() == [700, 150, 150]
    for split, share in enumerate((0.7, 0.15, 0.15)):
        dealt = has_class[chosen == split].sum(axis=0)
        np.testing.assert_allclose(dealt, share * has_class.sum(axis=0), atol=3)
    background = np.logical_not(has_class.any(axis=1))
    assert abs(np.count_nonzero(background[chosen == 1]) - 0.15 * background.sum()) <= 2


def test_rare_class_is_divided_equally() -> None:
    """The two images of the rare class go to different splits, whatever other class they show."""
    has_class = np.array([[1, 1], [1, 0], [0, 1], [0, 1]], dtype=bool)
    for seed in range(10):
        chosen = stratify(has_class, [0.5, 0.5], seed)
        assert sorted(chosen[:2]) == [0, 1]
        assert np.bincount(chosen).tolist() == [2, 2]


def test_split_depends_on_the_seed() -> None:
    has_class = np.random.default_rng(0).random((60, 3)) < 0.5
    first, again, other = (stratify(has_class, [0.6, 0.4], seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_splits_of_the_folder_are_kept() -> None:
    dataset = Dataset(("a", "b"), images(5, "train") + images(3, "val") + images(2, "test"))
    splits, faults = complete(dataset)
    assert splits == [image.split for image in dataset.images]
    assert not faults.notes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("train",), {"train": 6, "val": 2, "test": 2}),
        (("train", "val"), {"train": 8, "val": 10, "test": 2}),
        (("train", "test"), {"train": 8, "val": 2, "test": 10}),
    ],
    ids=["train only", "no test", "no val"],
)
def test_missing_splits_come_from_train_and_are_noted(given: tuple[str, ...], expected: dict[str, int]) -> None:
    dataset = Dataset(("a", "b"), tuple(image for split in given for image in images(10, split)))
    splits, faults = complete(dataset)
    assert {split: splits.count(split) for split in expected} == expected
    assert [note.kind for note in faults.notes] == ["split"]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_are_a_fault(count: int) -> None:
    _, faults = complete(Dataset(("a", "b"), images(count)))
    assert all(fault.what.startswith("empty split: ") for fault in faults.fatal)
    assert faults.fatal


def test_three_images_are_enough() -> None:
    splits, faults = complete(Dataset(("a", "b"), images(3)), val_fraction=0.01, test_fraction=0.01)
    assert sorted(split or "" for split in splits) == ["test", "train", "val"]
    assert not faults.fatal


def test_missing_train_split_is_a_fault() -> None:
    _, faults = complete(Dataset(("a", "b"), images(3, "val") + images(3, "test")))
    assert [fault.what for fault in faults.fatal] == ["empty split: train gets none of 6 images"]


def test_a_split_without_a_box_is_a_fault() -> None:
    empty = tuple(
        LabelledImage(Path(f"{i}.jpg"), (10, 10), np.zeros((0, 4)), np.zeros(0, np.int64), "val") for i in range(2)
    )
    _, faults = complete(Dataset(("a", "b"), images(3, "train") + empty + images(1, "test")))
    assert [fault.what for fault in faults.fatal] == [
        "no box in val: none of its 2 images has a label with an object in it"
    ]


def test_missing_boxes_are_no_second_fault_after_another_fault() -> None:
    faults = Faults(Path("root"))
    faults.add(Path("root/a.txt"), "is broken", "mend it")
    blank = LabelledImage(Path("a.jpg"), (10, 10), np.zeros((0, 4)), np.zeros(0, np.int64), "test")
    dataset = Dataset(("a", "b"), (*images(3, "train"), *images(1, "val"), blank))
    complete_splits(dataset, faults, val_fraction=0.2, test_fraction=0.2, seed=0)
    assert [fault.what for fault in faults.fatal] == ["is broken"]
