"""YOLO: a text file per image (class x_center y_center width height, as fractions) and a data.yaml.

The format: docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from src.foundation.prepared import IMAGE_SUFFIXES
from src.labels.assembly import Draft, assemble
from src.labels.conventions import YOLO
from src.labels.dataset import Dataset
from src.labels.faults import NAMED_ON_SCREEN, Faults, shown
from src.labels.folders import OtherFiles, files_below, files_in, inside, is_folder, is_image, read_text
from src.labels.limits import read_start
from src.labels.names import Names, canonical
from src.labels.split_folders import check_unread, splits_by_folder
from src.labels.split_names import splits_of_folders
from src.labels.yolo_index import Index, existing, read_index
from src.labels.yolo_rows import Rows

_LABELS_OF = {"images": "labels", "Images": "Labels", "IMAGES": "LABELS"}
NOT_LABELS = frozenset({"classes.txt"})  # labelling tools write the class names beside the labels
_ROW = re.compile(r"\S+(\s+[0-9.eE+-]+){4,}\s*")


def read_yolo(root: Path, faults: Faults, *, data_yaml: str | None = None) -> Dataset:
    """Read a YOLO folder.

    `label_path` gives the label file of an image; if it is not there, a label file beside the image is. An image with
    an empty label file, or without one, is a background image. A row may be a polygon: its box is taken. `train`, `val`
    and `test` may each be a folder, a text file that lists images, an image, or a list of these. Classes and splits may
    also be told as yolo_index.py says.

    Args:
        root: the dataset folder. A path that leads outside of it is a fault.
        faults: collects all faults, mends and notes.
        data_yaml: relative to the root; None: the usual names.
    """
    if not is_folder(root, faults):
        return Dataset((), ())
    index = read_index(root, data_yaml, faults)
    if index is None:
        return Dataset((), ())
    lists: list[Path] = []
    split_of = _splits(index, lists, root, faults)
    label_of = _labels(split_of, faults)
    # Where a split was not found, its labels have no images: that is no fault of their own.
    sources = {faults.name(path) for path in (index.path, *lists)}
    complete = not any(fault.file in sources for fault in faults.fatal)
    read = set(split_of) | _left_out_by_lists(split_of, lists, faults)
    unread = check_unread(root, read, lambda image: complete and _lies_at(image) is not None, faults)
    if complete:
        _check_other_labels(label_of, read, unread, lists, root, faults)

    rows = Rows(index.names, index.keypoints, faults)
    drafts = []
    for image, split in split_of.items():
        label = label_of.get(image)
        if label is None:
            faults.note(image, "no_label_file", "no label file: kept as background")
        readable = label is not None and inside(root, label.parent, label.name, faults, label) is not None
        text = read_text(label, faults) if label is not None and readable else None
        written, classes = rows.read(label or image, text or "")
        drafts.append(Draft(image, label or image, None, written, classes, split))
    rows.end()
    return Dataset(index.names, assemble(drafts, YOLO, index.names or ("",), faults))


def _splits(index: Index, lists: list[Path], root: Path, faults: Faults) -> dict[Path, str | None]:
    """Return the images and their splits; None if nothing tells the splits. Lists of images are added to `lists`."""
    split_of: dict[Path, str | None] = {}
    for split, values in index.sources.items():
        before = len(faults.fatal)
        found = _images_of(split, values, index, root, lists, faults)
        if len(faults.fatal) > before and not found:
            faults.unread = True
            continue
        if not found and split is not None:
            named = shown(values[0] if len(values) == 1 else values)
            faults.add(index.path, f"empty split: {split} ({named}) has no images", "add some, or remove the key")
        elif not found:
            faults.add(root, "contains no images", "add them, or a data.yaml that names them")
        for image in found:
            if split_of.setdefault(image, split) != split:
                faults.add(image, f"is listed in {split_of[image]} and in {split}", "remove it from one of them")
    if None in index.sources:
        by_folder = splits_by_folder(split_of, root, faults)
        split_of = {image: (by_folder or {}).get(image) for image in split_of}
    return split_of


def label_path(image: Path) -> Path:
    """Return the path of an image's label file: `images` becomes `labels` (`Images`: `Labels`), the suffix .txt.

    Of several folders `images` the last one counts. Without one, the label file is beside the image.

    >>> label_path(Path("data/images/train/a.jpg")).as_posix()
    'data/labels/train/a.txt'
    """
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] in _LABELS_OF:
            parts[index] = _LABELS_OF[parts[index]]
            break
    return Path(*parts).with_suffix(".txt")


def _lies_at(image: Path) -> Path | None:
    """Return the label file of an image, where it should be or beside the image; None if there is none."""
    return next((path for path in (label_path(image), image.with_suffix(".txt")) if os.path.lexists(path)), None)


def _labels(split_of: dict[Path, str | None], faults: Faults) -> dict[Path, Path]:
    """Return the label file of each image that has one."""
    label_of: dict[Path, Path] = {}
    for image in split_of:
        expected, beside = label_path(image), image.with_suffix(".txt")
        label = _lies_at(image)
        if label is None:
            continue
        label_of[image] = label
        if label != expected:
            what = f"a label beside its image, not in {faults.name(expected.parent)}: read there"
            faults.note(label, "elsewhere", what)
        elif beside != expected and os.path.lexists(beside):
            faults.add(beside, f"a second label; the first is {faults.name(expected)}", "remove one of them")
    _match_spellings(split_of, label_of, faults)
    image_of: dict[Path, Path] = {}
    for image in split_of:
        label = label_of.get(image, label_path(image))
        if image_of.setdefault(label, image) != image:
            what = f"shares its label {faults.name(label)} with {faults.name(image_of[label])}"
            faults.add(image, what, "rename one of the images, and its label")
    return label_of


def _match_spellings(split_of: dict[Path, str | None], label_of: dict[Path, Path], faults: Faults) -> None:
    """Give images without a label the one that their folder has under another spelling of their name."""
    taken = set(label_of.values())
    names_in: dict[Path, Names] = {}
    for image in split_of:
        expected = label_path(image)
        folder = expected.parent
        if image in label_of or not folder.is_dir():
            continue
        if folder not in names_in:
            names_in[folder] = Names(path.name for path in files_in(folder, (".txt",), faults) if path not in taken)
        spelled = names_in[folder].find(expected.name)
        if spelled is not None:
            label_of[image] = folder / spelled
            what = f"the label of {faults.name(image)}, spelled otherwise: matched"
            faults.note(folder / spelled, "spelling", what)


def _images_of(
    split: str | None, values: Sequence[object], index: Index, root: Path, lists: list[Path], faults: Faults
) -> list[Path]:
    """Return the images of a split. Text files that list images are added to `lists`."""
    images: dict[Path, None] = {}
    path = index.path
    for given in values:
        if not isinstance(given, str) or not given:
            faults.add(path, f"{split}: expected a folder or a list of images, found {shown(given)}", "correct it")
            continue
        name = existing(index.base, given)
        source = inside(root, index.base, name, faults, path, f"{split}: ")
        if source is None:
            continue
        source = Path(os.path.normpath(source))
        if os.path.isdir(source):
            found = files_below(source, IMAGE_SUFFIXES, faults)
            _check_inner_splits(split, found, source, faults)
            images |= dict.fromkeys(found)
        elif source.suffix.lower() == ".txt" and os.path.isfile(source):
            lists.append(source)
            images |= dict.fromkeys(_listed(source, root, faults))
        elif os.path.isfile(source) and is_image(source):
            images[source] = None
        else:
            faults.add(path, f"{split}: {shown(given)} is not a folder, a list of images or an image", "correct it")
    return list(images)


def _check_inner_splits(split: str | None, images: list[Path], source: Path, faults: Faults) -> None:
    """Add a fault for each folder of another split within the folder of a split."""
    if split is not None:
        others = {image.parent for image in images if splits_of_folders(image.relative_to(source)) - {split}}
        for folder in sorted(others):
            what = f"a folder of another split within {faults.name(source)}, which is {split}"
            faults.add(folder, what, f"name each split's own folder, not {faults.name(source)}")


def _listed(path: Path, root: Path, faults: Faults) -> list[Path]:
    text = read_text(path, faults)
    lines = [line.strip() for line in (text or "").splitlines()]
    images: dict[Path, None] = {}
    others, outside = OtherFiles(root), Faults(root, faults.setting)
    for number, given in enumerate(lines, start=1):
        if not given:
            continue
        # Paths in a list are relative to the list or to the root.
        places = [(base, existing(base, given)) for base in (path.parent, root)]
        base, name = next(((base, name) for base, name in places if os.path.isfile(base / name)), (path.parent, given))
        image = inside(root, base, name, outside, path)
        if image is None:
            continue
        if not os.path.isfile(image) or not is_image(image):
            what = f"line {number}: there is no image {shown(given)}{others.hint(given)}"
            faults.add(path, what, "add the image or remove the line")
            continue
        images[Path(os.path.normpath(image))] = None
    _add_outside(path, outside, sum(map(bool, lines)), faults)
    return list(images)


def _add_outside(path: Path, outside: Faults, lines: int, faults: Faults) -> None:
    """Add the faults of paths that lead outside; one for many, as a list with absolute paths has them in all lines."""
    found = outside.fatal
    if len(found) <= NAMED_ON_SCREEN:
        faults.fatal += found
    else:
        first = "; ".join(fault.what for fault in found[:NAMED_ON_SCREEN])
        what = f"{len(found)} of {lines} lines name no file within {faults.setting}. The first: {first}"
        faults.add(path, what, found[0].what_to_do)


def _left_out_by_lists(split_of: dict[Path, str | None], lists: Sequence[Path], faults: Faults) -> set[Path]:
    """Note the images that lie beside listed ones and are in no list, and return them."""
    left_out = set()
    # Only a list can leave out an image; a folder is read completely.
    for folder in sorted({image.parent for image in split_of}) if lists else []:
        for image in files_in(folder, IMAGE_SUFFIXES, faults):
            if image not in split_of:
                faults.note(image, "left_out", "in no split list: left out")
                left_out.add(image)
    return left_out


def _check_other_labels(
    label_of: dict[Path, Path],
    read: set[Path],
    unread: set[Path],
    lists: Sequence[Path],
    root: Path,
    faults: Faults,
) -> None:
    """Add a fault for each label file that no image has: the image, or its label, was lost."""
    expected = {*label_of.values(), *lists}
    expected |= {path for image in (read | unread) - set(label_of) if (path := _lies_at(image)) is not None}
    folders = {label_path(image).parent for image in read} | {path.parent for path in label_of.values()}
    unlabelled: dict[str, Path] = {}
    for image in read:
        if image not in label_of and _lies_at(image) is None:
            unlabelled.setdefault(canonical(image.stem), image)
    others = OtherFiles(root)
    for label in files_below(root, (".txt",), faults):
        if label in expected or label.name in NOT_LABELS:
            continue
        image_without = unlabelled.get(canonical(label.stem))
        if image_without is not None and _is_label(label):
            place = faults.name(label_path(image_without))
            what = f"seems to be the label of {faults.name(image_without)}, which has none: expected at {place}"
            faults.add(label, what, "move it there, or remove it")
        elif label.parent not in folders and set(_LABELS_OF.values()).isdisjoint(label.relative_to(root).parts[:-1]):
            continue
        elif read_start(label).strip() and not _is_label(label):
            faults.note(label, "left_out", "no label of an image, as it has no rows of numbers: left out")
        else:
            what = f"label without image: no image named {shown(label.stem)}{others.hint(label.name)}"
            faults.add(label, what, "add the image or remove the label")


def _is_label(path: Path) -> bool:
    """Return whether a text file's first row is one of a label."""
    first = read_start(path).decode("utf-8-sig", "replace").strip().splitlines()
    return bool(first) and _ROW.fullmatch(first[0]) is not None
