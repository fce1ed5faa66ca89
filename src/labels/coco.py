"""COCO: one JSON file with images, annotations and categories for the whole dataset, or one per split.

Lin et al., "Microsoft COCO: Common Objects in Context", arXiv:1405.0312; the format: cocodataset.org/#format-data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from src.labels.assembly import Draft, assemble
from src.labels.coco_files import ImageFinder, image_folders, json_files
from src.labels.conventions import COCO
from src.labels.dataset import Dataset
from src.labels.faults import Faults, shown
from src.labels.folders import finite, is_folder, read_text
from src.labels.limits import parse_json
from src.labels.polygons import box_of
from src.labels.split_folders import check_unread, splits_by_folder
from src.labels.told_sizes import told_size

REPAIR = "repair the entry, or export the file again"


@dataclass
class _Entry:
    """An image of a JSON file and the annotations read so far."""

    image: Path
    size_wh: tuple[int, int] | None
    split: str | None
    boxes: list[list[float]] = field(default_factory=list)
    category_ids: list[Any] = field(default_factory=list)


def read_coco(root: Path, faults: Faults, *, annotations: str | None = None, images: str | None = None) -> Dataset:
    """Read a COCO folder.

    The files and their splits are found as coco_files.py tells. If one file has all images, the splits are those of the
    folders in which the images lie, if these are named after splits. Category ids may have gaps: the class index is the
    position of the id among the sorted ids. A category without a box that is the supercategory of another is no class.
    Crowd annotations (`iscrowd: 1`) are left out, with a note: their box covers many objects, and a detector should not
    learn it as one. An annotation with a polygon and no box gets the polygon's box. An image without annotations is a
    background image. An image that no JSON file lists is left out, with a note.

    Args:
        root: the dataset folder. A path that leads outside of it is a fault.
        faults: collects all faults, mends and notes.
        annotations: a JSON file, or a folder with one per split (instances_train2017.json, val.json ...); None: the
            usual names.
        images: the folder that contains the images, or train/, val/ and test/; None: the usual names.
    """
    if not is_folder(root, faults):
        return Dataset((), ())
    named_by: dict[Path, Path] = {}
    entries: list[_Entry] = []
    categories: dict[Any, str] = {}
    groups: set[str] = set()
    finder = ImageFinder(root, faults)
    files = json_files(root, annotations, faults)
    faults.unread = bool(faults.fatal)
    for path, split in files:
        before = len(faults.fatal)
        content = _load(path, faults)
        if content is None:
            faults.unread = True
            continue
        own_categories = _categories(content, path, groups, faults)
        for key, name in own_categories.items():
            if categories.setdefault(key, name) != name:
                what = f"category {shown(key)} is {shown(name)} here, but {shown(categories[key])} in another file"
                faults.add(path, what, "give it the same name in all files")
        candidates = image_folders(root, path, split, images, faults)
        by_id = _images(content, path, split, candidates, finder, named_by, faults)
        faults.unread |= not by_id and len(faults.fatal) > before
        _annotate(content, path, by_id, own_categories, faults)
        entries += by_id.values()

    check_unread(root, set(named_by), lambda image: False, faults)
    _take_splits_of_folders(entries, root, faults)
    ids = _class_ids(categories, groups, entries, faults)
    names = tuple(categories[key] for key in ids)
    index_of = {key: index for index, key in enumerate(ids)}
    drafts = [
        Draft(
            image=entry.image,
            label=entry.image,
            size_wh=entry.size_wh,
            written=np.array(entry.boxes, dtype=np.float64).reshape(-1, 4),
            classes=np.array([index_of[key] for key in entry.category_ids], dtype=np.int64),
            split=entry.split,
        )
        for entry in entries
    ]
    return Dataset(names, assemble(drafts, COCO, names, faults))


def _take_splits_of_folders(entries: list[_Entry], root: Path, faults: Faults) -> None:
    """Where one file has all images, take the splits from the folders in which they lie, if these are splits."""
    without = [entry for entry in entries if entry.split is None]
    split_of = splits_by_folder([entry.image for entry in without], root, faults)
    for entry in without if split_of is not None else ():
        entry.split = (split_of or {})[entry.image]


def _class_ids(categories: dict[Any, str], groups: set[str], entries: list[_Entry], faults: Faults) -> list[Any]:
    """Return the ids of the categories that are classes, sorted: numbers first."""
    used = {key for entry in entries for key in entry.category_ids}
    only_groups = [key for key, name in categories.items() if key not in used and name in groups]
    for key in only_groups:
        what = f"category {shown(categories[key])} only groups others and has no box: it is no class"
        faults.note(faults.root, "group", what)
    return sorted((key for key in categories if key not in only_groups), key=lambda key: (isinstance(key, str), key))


def _load(path: Path, faults: Faults) -> dict[str, Any] | None:
    text = read_text(path, faults)
    if text is None:
        return None
    try:
        content = parse_json(text)
    except ValueError as error:
        faults.add(path, f"broken JSON ({error})", "repair or replace the file")
        return None
    if not isinstance(content, dict):
        faults.add(path, f"expected a JSON object, found {shown(content)}", "replace it with a COCO file")
        return None
    return content


def _entries(content: dict[str, Any], key: str, path: Path, faults: Faults) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of the list `key`, each with its name for messages, such as `images[3]`."""
    value = content.get(key)
    if not isinstance(value, list):
        faults.add(path, f"{key}: expected a list, found {shown(value)}", "replace it with a COCO file")
        return
    for index, entry in enumerate(value):
        if isinstance(entry, dict):
            yield f"{key}[{index}]", entry
        else:
            faults.add(path, f"{key}[{index}]: expected an object, found {shown(entry)}", REPAIR)


def _id(value: object) -> int | str | None:
    """Return an id in the form in which it is compared, None if it is none: 1, 1.0 and "1" are the same.

    >>> _id(1.0), _id("1"), _id("a"), _id(1.5)
    (1, 1, 'a', None)
    """
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"0|[1-9][0-9]{0,17}", value) else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value in (inf, -inf):
        return None
    return int(value) if value == int(value) else None


def _categories(content: dict[str, Any], path: Path, groups: set[str], faults: Faults) -> dict[Any, str]:
    """Return the names of the categories by id, and add the names of supercategories of others to `groups`."""
    names: dict[Any, str] = {}
    for where, entry in _entries(content, "categories", path, faults):
        key, name, group = _id(entry.get("id")), entry.get("name"), entry.get("supercategory")
        if key is None or key in names:
            faults.add(path, f"{where}.id: expected a unique id, found {shown(entry.get('id'))}", REPAIR)
        elif not isinstance(name, str) or not name.strip() or name.strip() in names.values():
            faults.add(path, f"{where}.name: expected a unique name, found {shown(name)}", REPAIR)
        else:
            names[key] = name.strip()
            if isinstance(group, str) and group.strip() != name.strip():
                groups.add(group.strip())
    return names


def _images(
    content: dict[str, Any],
    path: Path,
    split: str | None,
    folders: list[Path],
    finder: ImageFinder,
    named_by: dict[Path, Path],
    faults: Faults,
) -> dict[Any, _Entry]:
    """Return the images of a JSON file by id. `named_by` records, over all files, which JSON file lists an image."""
    by_id: dict[Any, _Entry] = {}
    for where, entry in _entries(content, "images", path, faults):
        key, name = _id(entry.get("id")), entry.get("file_name")
        if key is None or key in by_id:
            faults.add(path, f"{where}.id: expected a unique id, found {shown(entry.get('id'))}", REPAIR)
            continue
        if not isinstance(name, str) or not name:
            faults.add(path, f"{where}.file_name: expected a name, found {shown(name)}", REPAIR)
            continue
        image = finder.find(name, folders, path, where)
        if image is None:
            continue
        if image in named_by:
            twice = "twice" if named_by[image] == path else f"in {faults.name(named_by[image])} too"
            faults.add(path, f"{where}.file_name {shown(name)} is listed {twice}", "list it once")
            continue
        named_by[image] = path
        by_id[key] = _Entry(image, _size(entry, where, path, faults), split)
    if content.get("images") == []:
        faults.add(path, "empty split: images is empty" if split else "images is empty", "add some, or remove the file")
    return by_id


def _size(entry: dict[str, Any], where: str, path: Path, faults: Faults) -> tuple[int, int] | None:
    """Return the width and height of an entry, px; None if it does not tell: the image does."""
    width, height = entry.get("width"), entry.get("height")
    try:
        return told_size(width, height)
    except ValueError:
        what = f"{where}: width and height are {shown(width)} x {shown(height)}, not two whole numbers"
        faults.add(path, what, "correct or remove them")
        return None


def _annotate(
    content: dict[str, Any], path: Path, by_id: dict[Any, _Entry], categories: dict[Any, str], faults: Faults
) -> None:
    """Add the annotations of a JSON file to its images."""
    # An image with a fault is not in `by_id`. Its annotations must not add a second fault.
    listed = content["images"] if isinstance(content.get("images"), list) else []
    known = {_id(entry.get("id")) for entry in listed if isinstance(entry, dict)} - {None}
    for where, annotation in _entries(content, "annotations", path, faults):
        image_id, category_id = _id(annotation.get("image_id")), _id(annotation.get("category_id"))
        if image_id not in known:
            found = shown(annotation.get("image_id"))
            what = f"label without image: {where}.image_id {found} is not the id of an image"
            faults.add(path, what, "add the image or remove the annotation")
        if category_id not in categories:
            found = shown(annotation.get("category_id"))
            faults.add(path, f"unknown class: {where}.category_id {found} is not the id of a category", REPAIR)
            continue
        entry = by_id.get(image_id)
        if annotation.get("iscrowd") in (1, True):
            if entry is not None:
                faults.note(entry.image, "crowd", f"{where} is a crowd region: left out")
            continue
        box = _box(annotation, where, path, faults)
        if box is not None and entry is not None:
            entry.boxes.append(box)
            entry.category_ids.append(category_id)


def _box(annotation: dict[str, Any], where: str, path: Path, faults: Faults) -> list[float] | None:
    """Return left, top, width and height of an annotation, px; those of its polygons if it has no box."""
    box = annotation.get("bbox")
    if box in (None, [], [0, 0, 0, 0], ""):
        polygons = _polygon_numbers(annotation.get("segmentation"))
        corners = box_of(polygons)
        if corners is not None:
            left, top, right, bottom = corners
            what = f"{where} has a polygon and no bbox: the polygon's box is taken"
            faults.mended(path, "polygon", what, slight=True)
            return [left, top, right - left, bottom - top]
    if not isinstance(box, list) or len(box) != 4:
        faults.add(path, f"{where}.bbox: expected [x, y, width, height], found {shown(box)}", REPAIR)
        return None
    numbers = [finite(value) for value in box]
    if None in numbers:
        faults.add(path, f"{where}.bbox: expected 4 finite numbers, found {shown(box)}", REPAIR)
        return None
    return [number for number in numbers if number is not None]


def _polygon_numbers(segmentation: object) -> list[float]:
    """Return the numbers x y x y ... of all polygons of an annotation; none if it is run-length encoded or broken."""
    if not isinstance(segmentation, list):
        return []
    parts = segmentation if all(isinstance(part, list) for part in segmentation) else [segmentation]
    numbers = [finite(value) for part in parts for value in part]
    if None in numbers or any(len(part) % 2 for part in parts):
        return []
    return [number for number in numbers if number is not None]
