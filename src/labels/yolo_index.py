"""The classes and splits that a YOLO folder names: in data.yaml, CVAT's obj.data (Darknet), or classes.txt."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from src.labels.faults import Faults, shown
from src.labels.folders import finite, inside, read_text, recognised, subfolder
from src.labels.limits import parse_yaml
from src.labels.names import canonical
from src.labels.split_names import listed_names, resembles_split, split_named

USUAL_DATA_YAML = ("data.yaml", "data.yml", "dataset.yaml")
OBJ_DATA, CLASSES_TXT = "obj.data", "classes.txt"
_OTHER_KEYS = frozenset({"path", "names", "nc", "download", "roboflow", "kpt_shape", "flip_idx", "channels"})
_ROBOFLOW = re.compile(r"\.\./([^/]+)/images/?")


@dataclass
class Index:
    """The classes and splits of a folder.

    Attributes:
        path: the file that says it.
        names: of the classes, by index.
        base: paths are relative to this folder.
        sources: folders, lists of images and images, by split; under None if nothing tells the splits.
        keypoints: rows have keypoints behind the box.
    """

    path: Path
    names: tuple[str, ...]
    base: Path
    sources: dict[str | None, list[Any]] = field(default_factory=dict)
    keypoints: bool = False


def read_index(root: Path, given: str | None, faults: Faults) -> Index | None:
    """Return the classes and splits of the folder; None with a fault if it names none."""
    if given is None and not any(os.path.lexists(root / name) for name in USUAL_DATA_YAML):
        for name, read in ((OBJ_DATA, _of_obj_data), (CLASSES_TXT, _of_classes_txt)):
            if os.path.isfile(root / name):
                path = inside(root, root, name, faults, root / name)
                return read(path, root, faults) if path is not None else None
    path = recognised(root, given, USUAL_DATA_YAML, "class names and splits", "data_yaml", faults)
    content = _load(path, faults) if path is not None else None
    if path is None or content is None:
        return None
    names = _class_names(content, path, faults)
    sources = _sources(content, path, faults)
    base = _base(content, path, root, sources, faults)
    if base is None:
        return None
    _check_other_keys(content, path, base, faults)
    _leave_out_missing(sources, path, base, faults)
    if not sources and not any(fault.file == faults.name(path) for fault in faults.fatal):
        faults.add(path, "train, val and test are missing", "add them")
    return Index(path, names, base, sources, keypoints=content.get("kpt_shape") is not None)


def existing(base: Path, name: str) -> str:
    """Return the name as it is spelled on the disk, if it is there; else the name itself.

    Roboflow writes ../train/images and means train/images; CVAT writes data/train.txt and means train.txt.
    """
    for spelled in (name, canonical(name)):
        for shortened in (spelled, spelled.removeprefix("../"), spelled.removeprefix("data/")):
            if os.path.exists(base / shortened):
                return shortened
    return name


def _sources(content: dict[Any, Any], path: Path, faults: Faults) -> dict[str | None, list[Any]]:
    """Return the values of the keys that name splits, in any of their forms."""
    sources: dict[str | None, list[Any]] = {}
    key_of: dict[str, str] = {}
    for key, value in content.items():
        split = split_named(key) if isinstance(key, str) else None
        if split is None or value is None or value in ("", []):
            continue
        values = value if isinstance(value, list) else [value]
        if split in sources and sources[split] != values:
            what = f"two keys for {split}: {shown(key_of[split])} and {shown(key)}"
            faults.add(path, what, "keep one of them")
            continue
        sources[split], key_of[split] = values, key
    return sources


def _check_other_keys(content: dict[Any, Any], path: Path, base: Path, faults: Faults) -> None:
    """Add a fault for each key that looks like a split and is not understood: its images would be lost."""
    for key, value in content.items():
        if not isinstance(key, str) or key in _OTHER_KEYS or split_named(key) is not None:
            continue
        values = [name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str) and name]
        there = [name for name in values if "/" in name and os.path.exists(base / name)]
        if there or (values and resembles_split(key)):
            what = f"the key {shown(key)} looks like a split, but is none that is known ({listed_names()})"
            faults.add(path, what, "rename it, or remove it")


def _leave_out_missing(sources: dict[str | None, list[Any]], path: Path, base: Path, faults: Faults) -> None:
    """Remove val and test if Roboflow's folder of it was never there: it names one even for an empty split."""
    for split in ("val", "test"):
        values = sources.get(split)
        matched = _ROBOFLOW.fullmatch(str(values[0])) if values and len(values) == 1 else None
        if matched and split_named(matched[1]) == split and not os.path.exists(base / existing(base, str(matched[0]))):
            what = f"{split}: the folder {shown(matched[0])} of {split} is not there: as if the key were not there"
            faults.note(path, "split", what)
            del sources[split]


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
        # JSON has no keys but text, and some tools write 0.0.
        by_index = {_whole(key): name for key, name in names.items()}
        if len(by_index) != len(names) or set(by_index) != set(range(len(names))):
            what = f"names: expected the keys 0 to {len(names) - 1}, found {shown(list(names))}"
            faults.add(path, what, "renumber them")
            return ()
        names = [by_index[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        faults.add(path, f"names: expected a list of class names, found {shown(names)}", "add them")
        return ()
    for name in names:
        # YAML reads `no` and `1.0` as bool and float. A whole number is a valid name, for example of a digit.
        if isinstance(name, bool) or not isinstance(name, (str, int)) or not str(name).strip():
            faults.add(path, f"names: expected text, found {shown(name)}", "put it in quotes")
            return ()
    texts = _checked_names([str(name) for name in names], path, faults)
    count = content.get("nc")
    if count is not None and _whole(count) != len(texts):
        faults.add(path, f"nc is {shown(count)}, but names has {len(texts)} entries", "correct one of them")
    return texts


def _checked_names(names: list[str], path: Path, faults: Faults) -> tuple[str, ...]:
    texts = tuple(name.strip() for name in names)
    for name in sorted({name for name in texts if texts.count(name) > 1}):
        faults.add(path, f"names: {shown(name)} is listed twice or more", "give every class a unique name")
    return texts


def _whole(value: object) -> int | None:
    """Return a whole number, also of text or of a float; None for everything else."""
    number = finite(value)
    return int(number) if number is not None and number == int(number) else None


def _base(
    content: dict[Any, Any], path: Path, root: Path, sources: dict[str | None, list[Any]], faults: Faults
) -> Path | None:
    """Return the folder to which the paths of the splits are relative."""
    given = content.get("path")
    if given is None:
        return path.parent
    if not isinstance(given, str):
        faults.add(path, f"path: expected text, found {shown(given)}", "remove the key, or write `path: .`")
        return None
    inner = Faults(root, faults.setting)
    base = inside(root, path.parent, given, inner, path)
    if base is not None and os.path.isdir(base):
        return base
    names = [name for values in sources.values() for name in values]
    if names and all(
        isinstance(name, str) and os.path.exists(path.parent / existing(path.parent, name)) for name in names
    ):
        what = f"path: {shown(given)} is not in {faults.setting}, but the splits are beside this file: read there"
        faults.note(path, "split", what)
        return path.parent
    what = inner.fatal[0].what if inner.fatal else f"the folder {shown(given)} does not exist"
    faults.add(path, f"path: {what}", "remove the key, or write `path: .`")
    return None


def _of_obj_data(path: Path, root: Path, faults: Faults) -> Index | None:
    """Read Darknet's form: lines of `key = value`, and the class names in a file of their own."""
    text = read_text(path, faults)
    pairs = (line.partition("=") for line in (text or "").splitlines() if "=" in line)
    content: dict[Any, Any] = {key.strip(): value.strip() for key, _, value in pairs}
    named = content.pop("names", None)
    for key in ("classes", "backup"):
        content.pop(key, None)
    names_path = inside(root, root, existing(root, named), faults, path) if named else None
    if names_path is None or not os.path.isfile(names_path):
        faults.add(path, f"names: expected a file of class names, found {shown(named)}", "add it")
        return None
    names = _listed_class_names(names_path, faults)
    sources = _sources(content, path, faults)
    _check_other_keys(content, path, root, faults)
    return Index(path, names, root, sources)


def _of_classes_txt(path: Path, root: Path, faults: Faults) -> Index:
    """Read the form of Label Studio and LabelImg: classes.txt, images and labels, and nothing about splits."""
    images = subfolder(root, ("images",))
    return Index(path, _listed_class_names(path, faults), root, {None: [images or "."]})


def _listed_class_names(path: Path, faults: Faults) -> tuple[str, ...]:
    names = [line for line in (read_text(path, faults) or "").splitlines() if line.strip()]
    if not names:
        faults.add(path, "contains no class names", "add them, one per line")
    return _checked_names(names, path, faults)
