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

USUAL_DATA_YAML = ("data.yaml", "data.yml", "dataset.yaml")
COLUMNS = ("class", "x_center", "y_center", "width", "height")
LARGEST_FRACTION = 2.0  # a box may reach over the edge; one twice the image's side away was written in pixels
NOT_LABELS = frozenset({"classes.txt"})  # labelling tools leave the names of the classes beside the labels


def read_yolo(root: Path, faults: Faults, *, data_yaml: str | None = None) -> Dataset:
    """Read a YOLO folder.

    The label of an image lies where `images` in its path is replaced by `labels`, or beside it if there is no
    `images`. An image with an empty label file, or none, is a background. `train`, `val` and `test` may each be a
    folder, a text file that lists images, an image, or a list of these.

    Args:
        root: the folder that nothing may lead out of.
        faults: is told all that is wrong.
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
        faults.add(path, "names no split: train, val and test are missing", "add them")

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
    """Return where the label of an image lies: the last `images` of its path becomes `labels`, the suffix .txt."""
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
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML's constructors raise plain exceptions on scalars such as `!!int ""`.
        faults.add(path, f"broken YAML ({' '.join(str(error).split())})", "repair the file")
        return None
    if not isinstance(content, dict):
        faults.add(path, f"expected keys and values, found {shown(content)}", "name train, val and names in it")
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
        # `no` and `1.0` are not text in YAML; a digit's name may well be a whole number.
        if isinstance(name, bool) or not isinstance(name, (str, int)) or not str(name).strip():
            faults.add(path, f"names: expected text, found {shown(name)}", "put it in quotes")
            return ()
    texts = tuple(str(name).strip() for name in names)
    for name in sorted({name for name in texts if texts.count(name) > 1}):
        faults.add(path, f"names: {shown(name)} is there twice", "give every class a name of its own")
    count = content.get("nc")
    if count is not None and count != len(texts):
        faults.add(path, f"nc is {shown(count)}, but names has {len(texts)}", "correct one of them")
    return texts


def _base(content: dict[Any, Any], path: Path, root: Path, faults: Faults) -> Path | None:
    """Return the folder that the splits are relative to."""
    given = content.get("path")
    if given is None:
        return path.parent
    if not isinstance(given, str):
        faults.add(path, f"path: expected text, found {shown(given)}", "remove the key, or write `path: .`")
        return None
    base = inside(root, path.parent, given, faults, path)
    if base is not None and not os.path.isdir(base):
        faults.add(path, f"path: there is no folder {shown(given)} here", "remove the key, or write `path: .`")
        return None
    return base


def _images_of(
    split: str, value: object, path: Path, base: Path, root: Path, lists: list[Path], faults: Faults
) -> list[Path]:
    """Return the images of a split; the text files that list them are added to `lists`."""
    images: dict[Path, None] = {}
    for name in value if isinstance(value, list) else [value]:
        if not isinstance(name, str) or not name:
            faults.add(path, f"{split}: expected a folder or a list of images, found {shown(name)}", "correct it")
            continue
        # Roboflow writes ../train/images for train/images.
        if name.startswith("../") and os.path.exists(base / name[3:]) and not os.path.exists(base / name):
            name = name[3:]
        place = inside(root, base, name, faults, path)
        if place is None:
            continue
        place = Path(os.path.normpath(place))
        if os.path.isdir(place):
            images |= dict.fromkeys(files_below(place, IMAGE_SUFFIXES, faults))
        elif place.suffix.lower() == ".txt" and os.path.isfile(place):
            lists.append(place)
            images |= dict.fromkeys(_listed(place, root, faults))
        elif place.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(place):
            images[place] = None
        else:
            faults.add(path, f"{split}: {shown(name)} is neither a folder nor a list of images", "correct it")
    return list(images)


def _listed(path: Path, root: Path, faults: Faults) -> list[Path]:
    text = read_text(path, faults)
    images: dict[Path, None] = {}
    for number, line in enumerate((text or "").splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        # Lists are written relative to themselves or to the root.
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
    """Tell of labels without an image, and of images beside listed ones that no split names."""
    beside: set[Path] = set()
    # Only a list can pass over an image; a folder is read whole.
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
    """Return the boxes of a label file, (N, 4) as fractions, left, top, right, bottom, and their classes, (N,)."""
    there = os.path.lexists(label) and inside(root, label.parent, label.name, faults, label) is not None
    text = read_text(label, faults) if there else None
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
