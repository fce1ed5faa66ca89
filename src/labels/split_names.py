"""Names of splits: the forms in which folders, lists, files and keys call train, val and test."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The one table of split names. They are known in any case."""

_SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
# Words beside the name of a split that leave no doubt, as in `train_images`, `obj_train_data` or `val2017`.
_GENERIC = frozenset(
    {"annotation", "annotations", "coco", "data", "dataset", "image", "images", "imageset", "img", "imgs", "instances"}
    | {"jpegimages", "label", "labels", "list", "obj", "set", "split", "voc", "xml", "xmls", "yolo"}
)
_RESEMBLES = re.compile(r"train|val(?!ue|ve)|test|holdout|held.?out|fold.?[0-9]", re.IGNORECASE)


def split_named(name: str) -> str | None:
    """Return the split that a name means if it says nothing else: in any case, with a year or a generic word.

    >>> split_named("Validation"), split_named("train2017"), split_named("obj_train_data"), split_named("TestSet")
    ('val', 'train', 'train', 'test')
    >>> split_named("train_station"), split_named("trainval"), split_named("holdout")
    (None, None, None)
    """
    words = _words(name)
    return split_in(name) if all(word in _SPLIT_OF or word in _GENERIC for word in words) else None


def split_in(name: str) -> str | None:
    """Return the one split that a name contains as a word, beside any other words; None for none, and for two.

    >>> split_in("instances_Train2017"), split_in("cells-valid.v2")
    ('train', 'val')
    >>> split_in("train_val"), split_in("minival")
    (None, None)
    """
    found = {_SPLIT_OF[word] for word in _words(name) if word in _SPLIT_OF}
    return found.pop() if len(found) == 1 else None


def is_trainval(name: str) -> bool:
    """Return whether a name means train and val together.

    >>> is_trainval("trainval"), is_trainval("train_val2012"), is_trainval("train")
    (True, True, False)
    """
    words = [word for word in _words(name) if word not in _GENERIC]
    return words == ["trainval"] or [_SPLIT_OF.get(word) for word in words] == ["train", "val"]


def resembles_split(name: str) -> bool:
    """Return whether a name looks like one of a split, understood or not.

    >>> resembles_split("minival2014"), resembles_split("holdout"), resembles_split("extra")
    (True, True, False)
    """
    return _RESEMBLES.search(name) is not None


def splits_of_folders(path: PurePath) -> set[str]:
    """Return the splits that the folders of a relative path are named after.

    >>> splits_of_folders(PurePath("images/Valid/a.jpg"))
    {'val'}
    """
    return {split for name in path.parts[:-1] if (split := split_named(name)) is not None}


def listed_names(splits: Iterable[str] = NAMES) -> str:
    """Return the known names of splits, for messages."""
    return "; ".join(", ".join(NAMES[split]) for split in splits)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case; digits and marks separate words, and so does a capital letter.

    >>> _words("instances_TrainSet2017")
    ['instances', 'train', 'set']
    """
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
