"""Read files of detections in the form of COCO's results, and the COCO file beside them that tells what their ids mean.

A results file is a list of {"image_id", "category_id", "bbox": [x, y, width, height] in px, "score"}
(cocodataset.org/#format-results).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.labels.faults import Faults, shown
from src.labels.folders import files_below, read_text
from src.labels.limits import parse_json


@dataclass(frozen=True)
class Meanings:
    """What the ids in results files mean: names of files and of categories."""

    images: Mapping[str, str]
    categories: Mapping[str, str]


def results_below(folder: Path, faults: Faults) -> list[tuple[Path, list[Any], Meanings]]:
    """Return each results file, its entries, and the meanings of its ids by the COCO file in its folder."""
    if not folder.is_dir():
        faults.add(folder, "is not a folder", "put files of detections there, or correct teaching.files")
        return []
    results: list[tuple[Path, list[Any]]] = []
    meanings: dict[Path, Meanings] = {}
    for path in files_below(folder, (".json",), faults):
        content = _content(path, faults)
        if isinstance(content, list):
            results.append((path, content))
        elif isinstance(content, dict) and isinstance(content.get("images"), list):
            if path.parent in meanings:
                what = "a second COCO file (with `images`) in this folder"
                faults.add(path, what, "keep one, or put it into a folder of its own with its results")
            meanings[path.parent] = Meanings(
                _named(content, "images", "file_name", path, faults),
                _named(content, "categories", "name", path, faults),
            )
        elif content is not None:
            what = f"expected a list of detections, or a COCO file with `images`, found {shown(type(content).__name__)}"
            faults.add(path, what, "export the detections in COCO's results form")
    if not results and not faults.fatal:
        faults.add(folder, "contains no results file (.json)", "put files of detections there")
    return [(path, entries, meanings.get(path.parent, Meanings({}, {}))) for path, entries in results]


def _content(path: Path, faults: Faults) -> Any:
    """Return the content of a JSON file; add a fault and return None if it cannot be read."""
    text = read_text(path, faults)
    try:
        return None if text is None else parse_json(text)
    except ValueError as error:
        faults.add(path, f"broken JSON ({error})", "export the file again")
        return None


def _named(content: Mapping[str, Any], key: str, name: str, path: Path, faults: Faults) -> dict[str, str]:
    """Return the names of the entries of a COCO file under `key` by their ids."""
    found: dict[str, str] = {}
    listed = content.get(key, [])
    for index, entry in enumerate(listed if isinstance(listed, list) else []):
        given = id_of(entry.get("id")) if isinstance(entry, dict) else None
        if given is None or not isinstance(entry.get(name), str):
            faults.add(path, f"{key}[{index}]: expected an id and a {name}, found {shown(entry)}", "repair the entry")
        elif found.setdefault(given, entry[name]) != entry[name]:
            faults.add(path, f"{key}[{index}]: a second {name} of the id {shown(given)}", "repair the entry")
    return found


def id_of(value: object) -> str | None:
    """Return an id in the form in which it is compared: 1, 1.0 and "1" are the same. None if it is none.

    >>> id_of(1), id_of(1.0), id_of("1"), id_of("a.jpg"), id_of(True), id_of([])
    ('1', '1', '1', 'a.jpg', None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value) or None
