"""COCO: one JSON file with images, annotations and categories for the whole dataset, or one per split.

Lin et al., "Microsoft COCO: Common Objects in Context", arXiv:1405.0312; the format: cocodataset.org/#format-data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from src.foundation.prepared import IMAGE_SUFFIXES
from src.labels.assembly import Draft, assemble
from src.labels.dataset import Dataset
from src.labels.faults import Faults, shown
from src.labels.folders import files_in, finite, inside, is_folder, read_text, recognised
from src.labels.limits import parse_json

USUAL_ANNOTATIONS = ("annotations", "annotations.json", "_annotations.coco.json", "train/_annotations.coco.json")
ROBOFLOW = "_annotations.coco.json"
SPLIT_IN_NAME = re.compile(r"(?:instances_)?(train|val|valid|test)(?![a-z])", re.IGNORECASE)
REPAIR = "repair the entry, or export the file again"


@dataclass
class _Entry:
    """An image of a JSON file and the annotations read so far."""

    image: Path
    size_wh: tuple[int, int] | None
    split: str | None
    boxes_xyxy: list[list[float]] = field(default_factory=list)
    category_ids: list[Any] = field(default_factory=list)


def read_coco(root: Path, faults: Faults, *, annotations: str | None = None, images: str | None = None) -> Dataset:
    """Read a COCO folder.

    Category ids may have gaps: the class index is the position of the id among the sorted ids. Crowd annotations
    (`iscrowd: 1`) are left out, with a note: their box covers many objects, and a detector should not learn it as one.
    An image without annotations is a background image. An image that no JSON file lists is left out, with a note.

    Args:
        root: the dataset folder. A path that leads outside of it is a fault.
        faults: collects all faults, mends and notes.
        annotations: a JSON file, or a folder with one per split (instances_train2017.json, val.json ...); None: the
            usual names.
        images: the folder that contains the images, or train/, val/ and test/; None: the usual names.
    """
    if not is_folder(root, faults):
        return Dataset((), ())
    source = recognised(root, annotations, USUAL_ANNOTATIONS, "annotations", "annotations", faults)
    if source is None:
        return Dataset((), ())
    named_by: dict[Path, Path] = {}
    folders: dict[Path, None] = {}
    entries: list[_Entry] = []
    categories: dict[Any, str] = {}
    for path, split in _json_files(root, source, faults):
        content = _load(path, faults)
        if content is None:
            continue
        own_categories = _categories(content, path, faults)
        for key, name in own_categories.items():
            if categories.setdefault(key, name) != name:
                what = f"category {shown(key)} is {shown(name)} here, but {shown(categories[key])} in another file"
                faults.add(path, what, "give it the same name in all files")
        candidates = _image_folders(root, path, split, images, faults)
        by_id = _images(content, path, split, candidates, root, named_by, faults)
        _annotate(content, path, by_id, own_categories, faults)
        entries += by_id.values()
        folders |= dict.fromkeys(entry.image.parent for entry in by_id.values())

    for folder in folders:
        for image in files_in(folder, IMAGE_SUFFIXES, faults):
            if image not in named_by:
                faults.note(image, "left_out", "not listed in any annotation file: left out")
    ids = sorted(categories, key=lambda key: (isinstance(key, str), key))
    names = tuple(categories[key] for key in ids)
    index_of = {key: index for index, key in enumerate(ids)}
    drafts = [
        Draft(
            image=entry.image,
            label=entry.image,
            size_wh=entry.size_wh,
            boxes_xyxy=np.array(entry.boxes_xyxy, dtype=np.float64).reshape(-1, 4),
            classes=np.array([index_of[key] for key in entry.category_ids], dtype=np.int64),
            split=entry.split,
        )
        for entry in entries
    ]
    return Dataset(names, assemble(drafts, names, faults))


def _json_files(root: Path, source: Path, faults: Faults) -> list[tuple[Path, str | None]]:
    """Return the annotation files and their splits; the split is None if one file covers the whole dataset."""
    if source.name == ROBOFLOW and source.parent != root:
        folders = {"train": ("train",), "val": ("valid", "val"), "test": ("test",)}
        named = [(root / name, split) for split, names in folders.items() for name in names if (root / name).is_dir()]
        return [(path, split) for folder, split in named for path in files_in(folder, (".json",), faults)]
    if not source.is_dir():
        return [(source, None)]
    files = files_in(source, (".json",), faults)
    # The COCO download also contains captions and keypoints, beside the instances.
    files = [path for path in files if path.name.startswith("instances_")] or files
    split_of = {path: found[1].lower().replace("valid", "val") for path in files if (found := _split_in(path))}
    if len(files) == 1 and not split_of:
        return [(files[0], None)]
    for path in files:
        if path not in split_of:
            faults.note(path, "left_out", "no split in its name (such as instances_train2017.json): left out")
    by_split: dict[str, Path] = {}
    for path, split in split_of.items():
        if split in by_split:
            what = f"a second annotation file for {split}; the first is {faults.name(by_split[split])}"
            faults.add(path, what, "remove one of them, or set data.annotations")
        by_split[split] = path
    if not by_split:
        what = "contains no annotation file with a split in its name (such as instances_train2017.json)"
        faults.add(source, what, "add one, or set data.annotations")
    return [(path, split) for split, path in by_split.items()]


def _split_in(path: Path) -> re.Match[str] | None:
    return SPLIT_IN_NAME.match(path.stem)


def _image_folders(root: Path, path: Path, split: str | None, given: str | None, faults: Faults) -> list[Path]:
    """Return the existing folders that may contain the images of a JSON file, most likely first."""
    if path.name == ROBOFLOW:
        return [path.parent]
    base = recognised(root, given, (), "images", "images", faults) if given is not None else None
    if given is not None and base is None:
        return []
    bases = [base] if base is not None else [root / "images", root]
    names = [""]
    if split is not None:
        found = _split_in(path)
        suffix = path.stem[found.end() :] if found else ""  # train2017: the folder has the same suffix as the file
        names = [f"{split}{suffix}", split, *(["valid"] if split == "val" else []), ""]
    return [base / name for base in bases for name in names if (base / name).is_dir()]


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


def _is_id(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _categories(content: dict[str, Any], path: Path, faults: Faults) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for where, entry in _entries(content, "categories", path, faults):
        key, name = entry.get("id"), entry.get("name")
        if not _is_id(key) or key in names:
            faults.add(path, f"{where}.id: expected a unique id, found {shown(key)}", REPAIR)
        elif not isinstance(name, str) or not name.strip() or name.strip() in names.values():
            faults.add(path, f"{where}.name: expected a unique name, found {shown(name)}", REPAIR)
        else:
            names[key] = name.strip()
    return names


def _images(
    content: dict[str, Any],
    path: Path,
    split: str | None,
    folders: list[Path],
    root: Path,
    named_by: dict[Path, Path],
    faults: Faults,
) -> dict[Any, _Entry]:
    """Return the images of a JSON file by id. `named_by` records, over all files, which JSON file lists an image."""
    by_id: dict[Any, _Entry] = {}
    for where, entry in _entries(content, "images", path, faults):
        key, name = entry.get("id"), entry.get("file_name")
        if not _is_id(key) or key in by_id:
            faults.add(path, f"{where}.id: expected a unique id, found {shown(key)}", REPAIR)
            continue
        if not isinstance(name, str) or not name:
            faults.add(path, f"{where}.file_name: expected a name, found {shown(name)}", REPAIR)
            continue
        folder = next((folder for folder in folders if os.path.isfile(folder / name)), (*folders, root)[0])
        image = inside(root, folder, name, faults, path)
        if image is None:
            continue
        if not os.path.isfile(image):
            what = f"label without image: {where}.file_name {shown(name)} does not exist"
            faults.add(path, what, "add the image, or set data.images")
            continue
        image = Path(os.path.normpath(image))
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
    if "width" not in entry and "height" not in entry:
        return None
    width, height = finite(entry.get("width")), finite(entry.get("height"))
    if width is None or height is None or width != int(width) or height != int(height):
        found = f"{shown(entry.get('width'))} x {shown(entry.get('height'))}"
        faults.add(path, f"{where}: width and height are {found}, not two whole numbers", "correct or remove them")
        return None
    return int(width), int(height)


def _annotate(
    content: dict[str, Any], path: Path, by_id: dict[Any, _Entry], categories: dict[Any, str], faults: Faults
) -> None:
    """Add the annotations of a JSON file to its images."""
    # An image with a fault is not in `by_id`. Its annotations must not add a second fault.
    listed = content["images"] if isinstance(content.get("images"), list) else []
    known = {entry["id"] for entry in listed if isinstance(entry, dict) and _is_id(entry.get("id"))}
    for where, annotation in _entries(content, "annotations", path, faults):
        image_id, category_id, box = (annotation.get(key) for key in ("image_id", "category_id", "bbox"))
        if not _is_id(image_id) or image_id not in known:
            what = f"label without image: {where}.image_id {shown(image_id)} is not the id of an image"
            faults.add(path, what, "add the image or remove the annotation")
        if not _is_id(category_id) or category_id not in categories:
            what = f"unknown class: {where}.category_id {shown(category_id)} is not the id of a category"
            faults.add(path, what, REPAIR)
            continue
        if not isinstance(box, list) or len(box) != 4:
            faults.add(path, f"{where}.bbox: expected [x, y, width, height], found {shown(box)}", REPAIR)
            continue
        numbers = [finite(value) for value in box]
        if None in numbers:
            faults.add(path, f"{where}.bbox: expected 4 finite numbers, found {shown(box)}", REPAIR)
            continue
        if not _is_id(image_id) or image_id not in by_id:
            continue
        entry = by_id[image_id]
        if annotation.get("iscrowd") in (1, True):
            faults.note(entry.image, "crowd", f"{where} is a crowd region: left out")
            continue
        x, y, width, height = (number for number in numbers if number is not None)
        entry.boxes_xyxy.append([x, y, x + width, y + height])
        entry.category_ids.append(category_id)
