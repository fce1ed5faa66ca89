from __future__ import annotations

from dataclasses import replace
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
    dataset: Dataset,
    *,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    seed: int = 0,
    group_by: str | None = None,
) -> tuple[list[str | None], Faults]:
    faults = Faults(Path("root"))
    fractions = {"val_fraction": val_fraction, "test_fraction": test_fraction}
    done = complete_splits(dataset, faults, **fractions, seed=seed, group_by=group_by)
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


def test_split_of_a_seed_stays_the_same() -> None:
    """A folder without splits keeps its split across versions of the code, or results could not be compared."""
    has_class = np.random.default_rng(5).random((24, 3)) < 0.4
    assert "".join(map(str, stratify(has_class, [0.6, 0.2, 0.2], 3))) == "120220010121000002100000"


def frames(videos: int, each: int) -> tuple[LabelledImage, ...]:
    return tuple(
        LabelledImage(
            Path(f"root/v{video:02d}/clip{video:02d}_{frame:03d}.jpg"),
            (10, 10),
            np.zeros((1, 4)),
            np.array([video % 3]),
            None,
        )
        for video in range(videos)
        for frame in range(each)
    )


@pytest.mark.parametrize(
    "pattern", [r"^(.+)_\d+", r"clip\d+", r"(cl)ip(\d+)", r"v\d+/"], ids=["one part", "match", "two parts", "path"]
)
@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_together_and_classes_are_spread(pattern: str, seed: int) -> None:
    dataset = Dataset(("a", "b", "c"), frames(30, 8))
    splits, faults = complete(dataset, seed=seed, group_by=pattern)
    of_video: dict[str, set[str | None]] = {}
    for image, split in zip(dataset.images, splits, strict=True):
        of_video.setdefault(image.path.parent.name, set()).add(split)
    assert all(len(several) == 1 for several in of_video.values())
    assert [splits.count(split) for split in ("train", "val", "test")] == [144, 48, 48]
    for split in ("val", "test"):
        shown = {int(image.classes[0]) for image, own in zip(dataset.images, splits, strict=True) if own == split}
        assert shown == {0, 1, 2}
    assert not faults.notes


@pytest.mark.parametrize("sizes", [(90, 5, 5), (34, 33, 33), (1, 1, 98), (40, 40, 10, 10)])
def test_every_split_gets_a_group(sizes: tuple[int, ...]) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(5):
        chosen = stratify(np.ones((len(groups), 1), dtype=bool), [0.7, 0.15, 0.15], seed, groups)
        assert set(chosen) == {0, 1, 2}
        assert all(len(set(chosen[groups == group])) == 1 for group in range(len(sizes)))


def test_pattern_that_is_found_nowhere_is_a_fault() -> None:
    _, faults = complete(Dataset(("a", "b", "c"), frames(9, 2)), group_by="^v0")
    assert [fault.what for fault in faults.fatal] == ["group_by '^v0' is found in no name, such as v00/clip00_000.jpg"]


def test_image_that_the_pattern_misses_is_a_group_of_its_own() -> None:
    odd = LabelledImage(Path("root/odd.jpg"), (10, 10), np.zeros((1, 4)), np.array([0]), None)
    _, faults = complete(Dataset(("a", "b", "c"), (odd, *frames(9, 2))), group_by=r"^(.+)_\d+")
    assert [note.what for note in faults.notes] == [
        "group_by is not found in 1 of 19 names, such as odd.jpg: each is a group of its own"
    ]


def test_group_that_the_own_splits_divide_has_a_note() -> None:
    images = frames(3, 2)
    splits = ("train", "train", "val", "train", "test", "test")
    given = tuple(replace(image, split=split) for image, split in zip(images, splits, strict=True))
    done, faults = complete(Dataset(("a", "b", "c"), given), group_by=r"^(.+)_\d+")
    assert tuple(done) == splits
    assert [note.what for note in faults.notes] == [
        "the folder's own splits divide the group 'clip01': in train and val"
    ]


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
