"""Splits that the user made as folders, such as train/, valid/ and test/, where nothing else tells the splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from src.foundation.prepared import IMAGE_SUFFIXES
from src.labels.faults import Faults
from src.labels.folders import UNREAD_IMAGES, files_below
from src.labels.split_names import listed_names, resembles_split, split_named, splits_of_folders

# Pascal VOC's masks: they have the names of the images.
_MASKS = frozenset({"SegmentationClass", "SegmentationObject"})


def splits_by_folder(images: Iterable[Path], root: Path, faults: Faults) -> dict[Path, str] | None:
    """Return the split of each image by the folder in which it lies; None if no folder is named after a split.

    If some images lie in folders of splits, it is a fault of each other folder that its images have no split.
    """
    found = {image: splits_of_folders(image.relative_to(root)) for image in images}
    if not any(found.values()):
        return None
    unclear = Counter(image.parent for image, splits in found.items() if len(splits) != 1)
    known = sorted({split for splits in found.values() for split in splits})
    for folder, count in sorted(unclear.items()):
        what = f"{_counted(count)} in a folder that is not named after one split, beside folders of {', '.join(known)}"
        faults.add(folder, what, f"rename it after one split ({listed_names()}), or move it out of {faults.setting}")
    return {image: next(iter(splits), "train") for image, splits in found.items()}


def is_mask(path: Path) -> bool:
    """Return whether an image is a mask of Pascal VOC, which has the name of its image."""
    return not _MASKS.isdisjoint(path.parts)


def check_unread(root: Path, read: set[Path], labelled: Callable[[Path], bool], faults: Faults) -> set[Path]:
    """Return the images that no reader took, after a fault or a note for each of them, so that none is lost in silence.

    It is a fault if a whole folder was not read, its name looks like a split and it has labels: a split would be lost.
    All other such images are left out, with a note.

    Args:
        root: the dataset folder.
        read: the images that were read, or left out with a note of their own.
        labelled: returns whether an image that was not read has a label.
        faults: collects the faults and notes.
    """
    folders = {image.parent for image in read}
    unread: dict[Path, list[Path]] = {}
    for image in files_below(root, IMAGE_SUFFIXES | UNREAD_IMAGES, faults):
        if image not in read and not is_mask(image):
            unread.setdefault(image.parent, []).append(image)
    for folder, images in unread.items():
        names = folder.relative_to(root).parts
        lost = folder not in folders and any(split_named(name) or resembles_split(name) for name in names)
        if lost and any(labelled(image) for image in images):
            what = f"{_counted(len(images))} with labels, in a folder that looks like a split, and nothing reads them"
            faults.add(folder, what, f"name the split where the others are named, or move it out of {faults.setting}")
        else:
            what = f"nothing reads it{', though its folder looks like a split' if lost else ''}: left out"
            for image in images:
                faults.note(image, "left_out", what)
    return {image for images in unread.values() for image in images}


def _counted(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
