"""Which files of a COCO folder hold the annotations, of which split, and where their images are."""

from __future__ import annotations

import os
from pathlib import Path

from src.foundation.prepared import IMAGE_SUFFIXES
from src.labels.faults import Faults, shown
from src.labels.folders import OtherFiles, files_below, files_in, inside, recognised, subfolder
from src.labels.limits import parse_json, read_bytes
from src.labels.names import Names
from src.labels.split_names import listed_names, split_in, split_named

USUAL_FOLDER, USUAL_IMAGES = "annotations", ("images", "JPEGImages")
WHOLE = ("annotations.json", "_annotations.coco.json", "result.json", "instances_default.json")
"""Usual names of one file for all images; Label Studio writes result.json."""
# The COCO download also has captions, keypoints and others of the same images, beside the instances.
_OTHER_KINDS = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")

JsonFile = tuple[Path, str | None]


def json_files(root: Path, given: str | None, faults: Faults) -> list[JsonFile]:
    """Return the annotation files and their splits; the split is None if one file covers the whole dataset.

    They are, first of all, those that the configuration gives; else those of the folder `annotations`; else one of the
    `WHOLE` in the root; else those in folders that are named after splits, such as Roboflow's
    train/_annotations.coco.json; else those in the root.
    """
    if given is not None:
        source = recognised(root, given, (), "annotations", "annotations", faults)
        if source is None:
            return []
        return _of_folder(source, faults) if source.is_dir() else [(source, None)]
    folder = subfolder(root, (USUAL_FOLDER,))
    if folder is not None:
        path = inside(root, root, folder, faults, root / folder)
        return _of_folder(path, faults) if path is not None else []
    whole = next((root / name for name in WHOLE if os.path.isfile(root / name)), None)
    found = _in_split_folders(root, faults)
    if whole is not None and not found:
        return [(whole, None)]
    if found:
        if whole is not None:
            what = "one annotation file for all images, beside others in folders of splits"
            faults.add(whole, what, "remove it, or set data.annotations to it")
        return found
    if files_in(root, (".json",), faults):
        return _of_folder(root, faults)
    usual = f"{USUAL_FOLDER}/ or {' or '.join(WHOLE)} or train/_annotations.coco.json"
    faults.add(root, f"annotations: expected {usual}, found none", "add them, or set data.annotations")
    return []


def image_folders(root: Path, path: Path, split: str | None, given: str | None, faults: Faults) -> list[Path]:
    """Return the existing folders that may contain the images of a JSON file, most likely first."""
    base = recognised(root, given, (), "images", "images", faults) if given is not None else None
    if given is not None and base is None:
        return []
    images = subfolder(root, USUAL_IMAGES)
    bases = [base] if base is not None else [*([root / images] if images else []), root]
    own = [path.parent, path.parent / "images"] if path.parent != root and split_named(path.parent.name) else []
    # CVAT writes instances_default.json and images/default where a project has no subsets.
    own += [base / path.stem.removeprefix("instances_") for base in bases]
    of_split = [folder for base in bases for folder in _folders_of(base, split)]
    # images/train2017 belongs to instances_train2017.json, rather than images/train2014.
    of_split.sort(key=lambda folder: not path.stem.lower().endswith(folder.name.lower()))
    within = [folder / "images" for folder in of_split]
    return list(dict.fromkeys(folder for folder in [*own, *of_split, *within, *bases] if folder.is_dir()))


class ImageFinder:
    """Finds the images that JSON files name, also where the name is spelled otherwise than the file."""

    def __init__(self, root: Path, faults: Faults) -> None:
        self._root, self._faults = root, faults
        self._others = OtherFiles(root)
        self._names_in: dict[Path, Names] = {}

    def find(self, name: str, folders: list[Path], named_in: Path, where: str) -> Path | None:
        """Return the image, in the first of the folders that has it; add a fault and return None if none has."""
        folder = next((folder for folder in folders if os.path.isfile(folder / name)), None)
        if folder is not None:
            image = inside(self._root, folder, name, self._faults, named_in, f"{where}.file_name ")
            return None if image is None else Path(os.path.normpath(image))
        for folder in folders:
            spelled = self._names(folder).find(name)
            if spelled is not None:
                image = folder / spelled
                what = f"{where}.file_name {shown(name)} is spelled otherwise than {self._faults.name(image)}: matched"
                self._faults.note(named_in, "spelling", what)
                return image
        if (
            inside(self._root, (*folders, self._root)[0], name, self._faults, named_in, f"{where}.file_name ")
            is not None
        ):
            what = f"label without image: {where}.file_name {shown(name)} is not there{self._others.hint(name)}"
            self._faults.add(named_in, what, "add the image, correct the name, or set data.images")
        return None

    def _names(self, folder: Path) -> Names:
        if folder not in self._names_in:
            images = files_below(folder, IMAGE_SUFFIXES, self._faults)
            self._names_in[folder] = Names(image.relative_to(folder).as_posix() for image in images)
        return self._names_in[folder]


def _folders_of(base: Path, split: str | None) -> list[Path]:
    if split is None or not base.is_dir():
        return []
    folders = sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [folder for folder in folders if split_named(folder.name) == split]


def _in_split_folders(root: Path, faults: Faults) -> list[JsonFile]:
    """Return the JSON file of each folder of the root that is named after a split."""
    found: list[JsonFile] = []
    folder_of: dict[str, Path] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        paths = [path for path in files_in(folder, (".json",), faults) if _is_coco(path)]
        split = split_named(folder.name)
        if split is None:
            for path in paths:
                what = "an annotation file in a folder that is not named after a split"
                faults.add(path, what, f"rename the folder after a split ({listed_names()}), or set data.annotations")
        elif paths and split in folder_of:
            what = f"a second folder of {split}; the first is {faults.name(folder_of[split])}"
            faults.add(folder, what, "keep one of them")
        elif paths:
            folder_of[split] = folder
            found.append((paths[0], split))
            for path in paths[1:]:
                faults.add(path, f"a second annotation file for {split}; the first is {paths[0].name}", "remove one")
    return found


def _of_folder(folder: Path, faults: Faults) -> list[JsonFile]:
    """Return the annotation files of a folder, with the splits in their names."""
    files = files_in(folder, (".json",), faults)
    if any(path.name.lower().startswith("instances") for path in files):
        files = [path for path in files if not path.name.lower().startswith(_OTHER_KINDS)]
    split_of = {path: split for path in files if (split := split_in(path.stem)) is not None}
    if len(files) == 1 and not split_of:
        return [(files[0], None)]
    by_split: dict[str, Path] = {}
    for path, split in split_of.items():
        if split in by_split:
            what = f"a second annotation file for {split}; the first is {faults.name(by_split[split])}"
            faults.add(path, what, "remove one of them, or set data.annotations")
        by_split[split] = path
    others = [path for path in files if path not in split_of]
    whole = [path for path in others if _is_coco(path)]
    for path in others:
        if path not in whole:
            faults.note(path, "left_out", "no annotation file: left out")
    if len(whole) == 1 and not by_split:
        return [(whole[0], None)]
    for path in whole:
        what = f"an annotation file without one split in its name ({listed_names()})"
        faults.add(path, what, "rename it after its split, remove it, or set data.annotations")
    if not by_split and not whole:
        what = "contains no annotation file with a split in its name (such as instances_train2017.json)"
        faults.add(folder, what, "add one, or set data.annotations")
    return [(path, split) for split, path in by_split.items()]


def _is_coco(path: Path) -> bool:
    """Return whether a JSON file lists images and annotations; a broken one is left to its reader."""
    try:
        content = parse_json(read_bytes(path).decode("utf-8-sig"))
    except (OSError, ValueError):
        return True
    return isinstance(content, dict) and isinstance(content.get("images"), list) and "annotations" in content
