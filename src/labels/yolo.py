"""YOLO: a text file per image (class x_center y_center width height, as fractions) and a data.yaml.

The format: docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from src.foundation.prepared import IMAGE_SUFFIXES, SPLITS
from src.labels.assembly import Draft, assemble
from src.labels.dataset import Dataset
from src.labels.faults import Faults, shown
from src.labels.folders import (
    files_below,
    files_in,
    finite,
    inside,
    is_folder,
    read_text,
    recognised,
)
from src.labels.limits import parse_yaml

USUAL_DATA_YAML = ("data.yaml", "data.yml", "dataset.yaml")
COLUMNS = ("class", "x_center", "y_center", "width", "height")
LARGEST_FRACTION = 2.0  # a box may cross the edge, but a value above twice the image's side is in pixels
NOT_LABELS = frozenset({"classes.txt"})  # labelling tools write the class names beside the labels


def read_yolo(root: Path, faults: Faults, *, data_yaml: str | None = None) -> Dataset:
    """Read a YOLO folder.

    `label_path` gives the label file of an image. An image with an empty label file, or without one, is a background
    image. `train`, `val` and `test` may each be a folder, a text file that lists images, an image, or a list of these.

    Args:
        root: the dataset folder. A path that leads outside of it is a fault.
        faults: collects all faults, mends and notes.
        data_yaml: relative to the root; None: the usual names.
    """
    if not is_folder(root, faults):
        return Dataset((), ())
    path = recognised(root, data_yaml, USUAL_DATA_YAML, "class names and splits", "data_yaml", faults)
    content = _load(path, faults) if path is not None else None
    if path is None or content is None:
        return Dataset((), ())
    names = _class_names(content, path, faults)
    base = _base(content, path, root, faults)
    if base is None:
        return Dataset(names, ())

    lists: list[Path] = []
    split_of: dict[Path, str] = {}
    for split in SPLITS:
        value = content.get(split)
        if value is None or value in ("", []):
            continue
        found = _images_of(split, value, path, base, root, lists, faults)
        if not found:
            faults.add(path, f"empty split: {split} ({shown(value)}) has no images", "add some, or remove the key")
        for image in found:
            if split_of.setdefault(image, split) != split:
                faults.add(image, f"is listed in {split_of[image]} and in {split}", "remove it from one of them")
    if not any(content.get(split) for split in SPLITS):
        faults.add(path, "train, val and test are missing", "add them")

    label_of = {image: label_path(image) for image in split_of}
    image_of: dict[Path, Path] = {}
    for image, label in label_of.items():
        if image_of.setdefault(label, image) != image:
            what = f"shares its label {faults.name(label)} with {faults.name(image_of[label])}"
            faults.add(image, what, "rename one of the images, and its label")
    _check_rest(label_of, lists, faults)

    drafts = []
    for image, split in split_of.items():
        label = label_of[image]
        boxes, classes = _read_label(label, names, root, faults)
        if not os.path.lexists(label):
            faults.note(image, "no_label_file", "no label file: kept as background")
            label = image
        drafts.append(Draft(image, label, None, boxes, classes, split, in_fractions=True))
    return Dataset(names, assemble(drafts, names or ("",), faults))


def label_path(image: Path) -> Path:
    """Return the path of an image's label file: the last folder `images` becomes `labels`, the suffix .txt.

    Without a folder `images`, the label file is beside the image.

    >>> label_path(Path("data/images/train/a.jpg")).as_posix()
    'data/labels/train/a.txt'
    """
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _load(path: Path, faults: Faults) -> dict[Any, Any] | None:
    text = read_text(path, faults)
    if text is None:
        return None
    try:
        content = parse_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        faults.add(path, f"broken YAML ({' '.join(str(error).split())})", "repair the file")
        return None
    if not isinstance(content, dict):
        faults.add(path, f"expected keys and values, found {shown(content)}", "add train, val and names")
        return None
    return content


def _class_names(content: dict[Any, Any], path: Path, faults: Faults) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            what = f"names: expected the keys 0 to {len(names) - 1}, found {shown(list(names))}"
            faults.add(path, what, "renumber them")
            return ()
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        faults.add(path, f"names: expected a list of class names, found {shown(names)}", "add them")
        return ()
    for name in names:
        # YAML reads `no` and `1.0` as bool and float. A whole number is a valid name, for example of a digit.
        if isinstance(name, bool) or not isinstance(name, (str, int)) or not str(name).strip():
            faults.add(path, f"names: expected text, found {shown(name)}", "put it in quotes")
            return ()
    texts = tuple(str(name).strip() for name in names)
    for name in sorted({name for name in texts if texts.count(name) > 1}):
        faults.add(path, f"names: {shown(name)} is listed more than once", "give every class a unique name")
    count = content.get("nc")
    if count is not None and count != len(texts):
        faults.add(path, f"nc is {shown(count)}, but names has {len(texts)} entries", "correct one of them")
    return texts


def _base(content: dict[Any, Any], path: Path, root: Path, faults: Faults) -> Path | None:
    """Return the folder to which the paths of the splits are relative."""
    given = content.get("path")
    if given is None:
        return path.parent
    if not isinstance(given, str):
        faults.add(path, f"path: expected text, found {shown(given)}", "remove the key, or write `path: .`")
        return None
    base = inside(root, path.parent, given, faults, path)
    if base is not None and not os.path.isdir(base):
        faults.add(path, f"path: the folder {shown(given)} does not exist", "remove the key, or write `path: .`")
        return None
    return base


def _images_of(
    split: str, value: object, path: Path, base: Path, root: Path, lists: list[Path], faults: Faults
) -> list[Path]:
    """Return the images of a split. Text files that list images are added to `lists`."""
    images: dict[Path, None] = {}
    for name in value if isinstance(value, list) else [value]:
        if not isinstance(name, str) or not name:
            faults.add(path, f"{split}: expected a folder or a list of images, found {shown(name)}", "correct it")
            continue
        # Roboflow writes ../train/images and means train/images.
        if name.startswith("../") and os.path.exists(base / name[3:]) and not os.path.exists(base / name):
            name = name[3:]
        source = inside(root, base, name, faults, path)
        if source is None:
            continue
        source = Path(os.path.normpath(source))
        if os.path.isdir(source):
            images |= dict.fromkeys(files_below(source, IMAGE_SUFFIXES, faults))
        elif source.suffix.lower() == ".txt" and os.path.isfile(source):
            lists.append(source)
            images |= dict.fromkeys(_listed(source, root, faults))
        elif source.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(source):
            images[source] = None
        else:
            faults.add(path, f"{split}: {shown(name)} is not a folder, a list of images or an image", "correct it")
    return list(images)


def _listed(path: Path, root: Path, faults: Faults) -> list[Path]:
    text = read_text(path, faults)
    images: dict[Path, None] = {}
    for number, line in enumerate((text or "").splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        # Paths in a list are relative to the list or to the root.
        bases = [base for base in (path.parent, root) if os.path.isfile(base / name)]
        image = inside(root, bases[0] if bases else path.parent, name, faults, path)
        if image is None:
            continue
        if not bases or image.suffix.lower() not in IMAGE_SUFFIXES:
            faults.add(path, f"line {number}: there is no image {shown(name)}", "add the image or remove the line")
            continue
        images[Path(os.path.normpath(image))] = None
    return list(images)


def _check_rest(label_of: dict[Path, Path], lists: Sequence[Path], faults: Faults) -> None:
    """Add a fault for each label without an image, and a note for each image that the split lists leave out."""
    beside: set[Path] = set()
    # Only a list can leave out an image; a folder is read completely.
    for folder in sorted({image.parent for image in label_of}) if lists else []:
        for image in files_in(folder, IMAGE_SUFFIXES, faults):
            if image not in label_of:
                faults.note(image, "left_out", "in no split list: left out")
                beside.add(label_path(image))
    expected = {*label_of.values(), *beside, *lists}
    for folder in sorted({label.parent for label in label_of.values() if label.parent.is_dir()}):
        for label in files_in(folder, (".txt",), faults):
            if label not in expected and label.name not in NOT_LABELS:
                what = f"label without image: no image named {shown(label.stem)}"
                faults.add(label, what, "add the image or remove the label")


def _read_label(
    label: Path, names: Sequence[str], root: Path, faults: Faults
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return boxes (N, 4), left, top, right, bottom as fractions, and classes (N,); both are empty without a file."""
    readable = os.path.lexists(label) and inside(root, label.parent, label.name, faults, label) is not None
    text = read_text(label, faults) if readable else None
    boxes: list[list[float]] = []
    classes: list[int] = []
    for number, line in enumerate((text or "").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != len(COLUMNS):
            what = f"line {number}: expected 5 columns ({' '.join(COLUMNS)}), found {len(words)}"
            faults.add(label, what, "correct the line; polygons have to be exported as boxes")
            continue
        index = int(words[0]) if re.fullmatch(r"[+-]?[0-9]{1,9}", words[0]) else None
        if index is None:
            faults.add(label, f"line {number}: class {shown(words[0])} is not a whole number", "correct the line")
        elif not 0 <= index < len(names) and names:
            what = f"line {number}: class index {index} is out of range 0 to {len(names) - 1}"
            faults.add(label, what, "correct the line, or names in data.yaml")
        numbers = [finite(word) for word in words[1:]]
        for column, word, value in zip(COLUMNS[1:], words[1:], numbers, strict=True):
            if value is None:
                faults.add(label, f"line {number}: {column} {shown(word)} is not a finite number", "correct the line")
            elif abs(value) > LARGEST_FRACTION:
                what = f"line {number}: {column} {word} is not a fraction of the image's side"
                faults.add(label, what, "divide pixels by the image's width or height")
        if index is not None and 0 <= index < len(names) and None not in numbers:
            x, y, width, height = (value for value in numbers if value is not None)
            boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            classes.append(index)
    return np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(classes, dtype=np.int64)
