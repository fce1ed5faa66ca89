"""Pascal VOC's split lists: text files in ImageSets/Main with the name of an image per line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from src.foundation.prepared import SPLITS
from src.labels.faults import Faults, shown
from src.labels.folders import files_below, files_in, inside, read_text, recognised, subfolder
from src.labels.split_names import is_trainval, listed_names, resembles_split, split_named

USUAL_FOLDERS = ("ImageSets/Main", "ImageSets")
TRAINVAL = "trainval"
# A list of one class says of each image whether the class is there: 1, -1, or 0 where it is hard to see.
_CLASS_LINE = re.compile(r"(?P<name>.+?)\s+(?:-1|0|1)\s*")

Find = Callable[[str], str | None]


@dataclass(frozen=True)
class SplitLists:
    """The split of each listed image, and the lists, by split."""

    split_of: dict[str, str]
    file_of: dict[str, Path]


def read_lists(root: Path, given: str | None, keys: frozenset[str], find: Find, faults: Faults) -> SplitLists | None:
    """Return the split of each listed image, by key; None if there are no split lists.

    A list that is not understood is a fault if it names images: they would be lost.

    Args:
        root: the dataset folder.
        given: the folder of the lists in the configuration; None: the usual ones, or any that holds lists.
        keys: of all images.
        find: returns the key of the image that a line names.
        faults: collects all faults and notes.
    """
    folder = _folder(root, given, faults)
    if folder is None:
        return None
    paths = files_in(folder, (".txt",), faults)
    listed: dict[str, list[str]] = {}
    files: dict[str, Path] = {}
    of_class: dict[str, list[Path]] = {}
    rest: list[Path] = []
    for path in paths:
        # First the lists of a class, as one may be called train: train_val.txt.
        if (split := _split_of_class_list(path, faults)) is not None:
            of_class.setdefault(split, []).append(path)
            continue
        name = TRAINVAL if is_trainval(path.stem) else split_named(path.stem)
        if name is None:
            rest.append(path)
        elif name in files:
            faults.add(path, f"a second list of {name}; the first is {faults.name(files[name])}", "keep one of them")
        else:
            files[name] = path
            listed[name] = _read_list(path, find, root, faults)
    for split, class_lists in of_class.items():
        if split not in files:
            files[split] = class_lists[0]
            listed[split] = _union_of_class_lists(class_lists, find, root, faults)
            names = ", ".join(path.name for path in class_lists[:3])
            faults.note(folder, "split", f"no list of {split}: its images are those of its lists per class ({names})")
    _check_rest(rest, {key for some in listed.values() for key in some}, keys, find, faults)
    _check_other_suffixes(folder, files, faults)
    if not files:
        _add_no_lists(folder, given, faults)
        return None
    _take_train_from_trainval(listed, files, faults)
    return SplitLists(_merged(listed, files, faults), files)


def _folder(root: Path, given: str | None, faults: Faults) -> Path | None:
    """Return the folder of the split lists; None without any."""
    if given is not None:
        return recognised(root, given, (), "split lists", "split_lists", faults)
    sets = subfolder(root, ("ImageSets",))
    if sets is not None:
        main = subfolder(root / sets, ("Main",))
        return inside(root, root, f"{sets}/{main}" if main else sets, faults, root / sets)
    lists = [path for path in files_below(root, (".txt",), faults) if split_named(path.stem) or is_trainval(path.stem)]
    folders = sorted({path.parent for path in lists})
    folders = [folder for folder in folders if folder.name.lower() == "main"] or folders
    if len(folders) > 1:
        names = ", ".join(faults.name(folder) for folder in folders)
        faults.add(root, f"split lists in {len(folders)} folders ({names})", "set data.split_lists to one of them")
        return None
    return folders[0] if folders else None


def _add_no_lists(folder: Path, given: str | None, faults: Faults) -> None:
    if given is not None:
        faults.add(folder, "contains no train.txt, val.txt or test.txt", "add them, or set data.split_lists: null")
    else:
        faults.note(folder, "split", "contains no train.txt, val.txt or test.txt: images are split by seed")


def _take_train_from_trainval(listed: dict[str, list[str]], files: dict[str, Path], faults: Faults) -> None:
    if "train" not in files and TRAINVAL in files:
        elsewhere = {key for name in ("val", "test") for key in listed.get(name, ())}
        listed["train"] = [key for key in listed[TRAINVAL] if key not in elsewhere]
        files["train"] = files[TRAINVAL]
        faults.note(files[TRAINVAL], "split", "no list of train: train is this list without val and test")


def _merged(listed: dict[str, list[str]], files: dict[str, Path], faults: Faults) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for name in SPLITS:
        for key in listed.get(name, ()):
            if split_of.setdefault(key, name) != name:
                what = f"{shown(key)} is listed in {split_of[key]} and in {name}"
                faults.add(files[name], what, "remove it from one of the lists")
    return split_of


def _read_list(path: Path, find: Find, root: Path, faults: Faults) -> list[str]:
    text = read_text(path, faults)
    if text is None:
        faults.unread = True
        return []
    keys: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        key = find(name)
        columns = len(name.split())
        if key is not None:
            keys[key] = None
        elif columns > 1 and find(name.split()[0]) is not None:
            what = f"line {number}: expected one name, found {columns} columns"
            faults.add(path, what, "keep the name only")
        elif inside(root, root, name, faults, path) is not None:
            faults.add(path, f"line {number}: there is no image {shown(name)}", "add the image or remove the line")
    if not keys and not text.strip():
        faults.add(path, f"empty split: {path.stem} has no images", "list some, or remove the file")
    faults.unread |= not keys and bool(text.strip())
    return list(keys)


def _split_of_class_list(path: Path, faults: Faults) -> str | None:
    """Return the split of a list such as cat_train.txt, whose lines are `name 1` or `name -1`; None for other files."""
    name_of_class, _, last = path.stem.rpartition("_")
    split = TRAINVAL if is_trainval(last) else split_named(last)
    if split is None or not name_of_class:
        return None
    lines = [line for line in (read_text(path, faults) or "").splitlines() if line.strip()]
    return split if lines and all(_CLASS_LINE.fullmatch(line) for line in lines) else None


def _union_of_class_lists(paths: list[Path], find: Find, root: Path, faults: Faults) -> list[str]:
    keys: dict[str, None] = {}
    for path in paths:
        for number, line in enumerate((read_text(path, faults) or "").splitlines(), start=1):
            matched = _CLASS_LINE.fullmatch(line)
            if matched is None:
                continue
            key = find(matched["name"].strip())
            if key is not None:
                keys[key] = None
            elif inside(root, root, matched["name"].strip(), faults, path) is not None:
                what = f"line {number}: there is no image {shown(matched['name'])}"
                faults.add(path, what, "add the image or remove the line")
    return list(keys)


def _check_rest(paths: list[Path], listed: set[str], keys: frozenset[str], find: Find, faults: Faults) -> None:
    """Add a fault for each list that is not understood and names images. A list of all of them tells no split."""
    for path in paths:
        lines = [line.strip() for line in (read_text(path, faults) or "").splitlines() if line.strip()]
        named = {key for line in lines if (key := find(line)) is not None}
        if named and named >= (listed or keys):
            faults.note(path, "left_out", "a list of all images, which is no split: left out")
        elif named or resembles_split(path.stem):
            what = f"looks like a split list ({len(named)} of its {len(lines)} lines name images), but is of no split"
            faults.add(path, what, f"rename it after a split ({listed_names()}), or remove it")


def _check_other_suffixes(folder: Path, files: dict[str, Path], faults: Faults) -> None:
    """Add a fault for each file that is named after a split, but is no text file, if there is no list of that split."""
    for path in sorted(folder.iterdir()):
        split = split_named(path.stem)
        if split is not None and split not in files and path.is_file() and path.suffix.lower() != ".txt":
            faults.add(path, f"looks like a list of {split}, but is no .txt", "save it as text, one name per line")
