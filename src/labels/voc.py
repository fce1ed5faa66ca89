"""Pascal VOC: an XML file per image, an image with the same stem, text files that list the images of each split.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from src.foundation.prepared import IMAGE_SUFFIXES, SPLITS
from src.labels.assembly import Draft, assemble
from src.labels.dataset import Dataset
from src.labels.faults import Faults, shown
from src.labels.folders import files_below, files_in, finite, inside, is_folder, read_text, recognised
from src.labels.limits import parse_xml

USUAL_ANNOTATIONS = ("Annotations", "annotations", "xml")
USUAL_IMAGES = ("JPEGImages", "images", "Images")
USUAL_SPLIT_LISTS = ("ImageSets/Main", "ImageSets")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Annotation:
    size_wh: tuple[int, int] | None
    names: list[str]
    boxes_xyxy: list[list[float]]


def read_voc(
    root: Path,
    faults: Faults,
    *,
    annotations: str | None = None,
    images: str | None = None,
    split_lists: str | None = None,
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Read a Pascal VOC folder.

    Corners are read as the edges of the box, px (width = xmax - xmin), as in BCCD and as LabelImg and most tools write
    them. The files of the challenge itself count inclusive pixels from 1, which moves an edge by at most one pixel. An
    image without objects or without an XML is a background image. Objects marked `difficult` are kept. The split lists
    are train.txt, val.txt and test.txt; if train.txt is missing, train is trainval.txt without the images of val and
    test. With split lists, images in none of them are left out, with a note. Without split lists, `split` is None.

    Args:
        root: the dataset folder. A path that leads outside of it is a fault.
        faults: collects all faults, mends and notes.
        annotations, images, split_lists: folders, relative to the root; None: the usual names. Annotations and images
            may also be in the root itself, if it contains XML files.
        class_names: the names by index; None: all names that occur, sorted.
    """
    if not is_folder(root, faults):
        return Dataset((), ())
    flat = (".",) if any(root.glob("*.xml")) else ()
    annotation_folder = recognised(root, annotations, (*USUAL_ANNOTATIONS, *flat), "XML files", "annotations", faults)
    image_folder = recognised(root, images, (*USUAL_IMAGES, *flat), "images", "images", faults)
    if annotation_folder is None or image_folder is None:
        return Dataset((), ())

    image_of = _by_key(image_folder, files_below(image_folder, IMAGE_SUFFIXES, faults), faults)
    if not image_of:
        faults.add(image_folder, "contains no images", "add them, or set data.images")
    annotation_of: dict[str, _Annotation] = {}
    xml_of = _by_key(annotation_folder, files_below(annotation_folder, (".xml",), faults), faults)
    for key, xml in list(xml_of.items()):
        root_element = _parse(xml, faults)
        if root_element is None:
            continue
        renamed = _check_filename(root_element, xml, key, image_folder, image_of, root, faults)
        if renamed is not None:
            if renamed in xml_of:
                target, first = faults.name(image_of[renamed]), faults.name(xml_of[renamed])
                what = f"a second label for {target}; the first is {first}"
                faults.add(xml, what, "remove one of them")
            xml_of[renamed] = xml
        annotation_of[renamed or key] = _annotation(root_element, xml, faults)
    lists = _read_lists(root, split_lists, image_of, faults)

    found = {name for annotation in annotation_of.values() for name in annotation.names}
    names = tuple(class_names) if class_names is not None else tuple(sorted(found))
    index_of = {name: index for index, name in enumerate(names)}
    for key, annotation in annotation_of.items():
        for name in dict.fromkeys(annotation.names):
            if name not in index_of:
                what = f"unknown class {shown(name)}, expected one of {', '.join(names)}"
                faults.add(xml_of[key], what, "correct it, or set data.class_names")

    drafts = []
    for key, image in image_of.items():
        if lists is not None and key not in lists:
            faults.note(image, "left_out", "in no split list: left out")
            continue
        if key not in xml_of:
            faults.note(image, "no_label_file", "no XML with this stem: kept as background")
        annotation = annotation_of.get(key, _Annotation(None, [], []))
        drafts.append(
            Draft(
                image=image,
                label=xml_of.get(key, image),
                size_wh=annotation.size_wh,
                boxes_xyxy=np.array(annotation.boxes_xyxy, dtype=np.float64).reshape(-1, 4),
                classes=np.array([index_of.get(name, 0) for name in annotation.names], dtype=np.int64),
                split=None if lists is None else lists[key],
            )
        )
    # An unknown class is a fatal fault. Its boxes have index 0 here, which only affects the text of mends.
    return Dataset(names, assemble(drafts, names or ("",), faults))


def _by_key(folder: Path, paths: list[Path], faults: Faults) -> dict[str, Path]:
    """Return the files by path relative to `folder`, without suffix. An image and its XML have the same key."""
    by_key: dict[str, Path] = {}
    for path in paths:
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in by_key:
            faults.add(path, f"has the same stem as {faults.name(by_key[key])}", "rename one of them, and its label")
        else:
            by_key[key] = path
    return by_key


def _parse(xml: Path, faults: Faults) -> ElementTree.Element | None:
    text = read_text(xml, faults)
    if text is None:
        return None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        faults.add(xml, "declares a document type or entities, which a label never needs", "remove the declaration")
        return None
    try:
        element = parse_xml(text)
    except (ElementTree.ParseError, ValueError) as error:
        faults.add(xml, f"broken XML ({error})", "repair the file, or remove it with its image")
        return None
    if element.tag != "annotation":
        faults.add(xml, f"expected the element <annotation>, found {shown(element.tag)}", "put a VOC annotation there")
        return None
    return element


def _check_filename(
    element: ElementTree.Element,
    xml: Path,
    key: str,
    image_folder: Path,
    image_of: dict[str, Path],
    root: Path,
    faults: Faults,
) -> str | None:
    """Return the key of the image if only <filename> identifies it; None if the name of the XML does.

    It is a fault if neither identifies an image, or if they identify different images.
    """
    filename = (element.findtext("filename") or "").strip()
    path = inside(root, image_folder, filename, faults, xml) if filename else None
    named_key = None
    if path is not None and path.is_relative_to(image_folder):
        named_key = os.path.splitext(path.relative_to(image_folder).as_posix())[0]
    if key in image_of:
        if named_key is not None and named_key != key and named_key in image_of:
            what = f"<filename> is {shown(filename)}, but the name of the XML matches {faults.name(image_of[key])}"
            faults.add(xml, what, "correct <filename> or rename the XML")
        return None
    if named_key is not None and named_key in image_of:
        return named_key
    faults.add(xml, f"label without image: no image named {shown(xml.stem)}", "add the image or remove the label")
    return None


def _annotation(element: ElementTree.Element, xml: Path, faults: Faults) -> _Annotation:
    names, boxes = [], []
    for number, item in enumerate(element.findall("object"), start=1):
        name = (item.findtext("name") or "").strip()
        if not name:
            faults.add(xml, f"object {number} has no <name>", "add the name of its class")
        corners = [finite(item.findtext(f"bndbox/{corner}")) for corner in CORNERS]
        for corner, value in zip(CORNERS, corners, strict=True):
            if value is None:
                text = shown(item.findtext(f"bndbox/{corner}"))
                faults.add(xml, f"object {number}: <{corner}> is {text}, not a finite number", "correct it")
        if name and None not in corners:
            names.append(name)
            boxes.append([value for value in corners if value is not None])
    return _Annotation(_size(element, xml, faults), names, boxes)


def _size(element: ElementTree.Element, xml: Path, faults: Faults) -> tuple[int, int] | None:
    if element.find("size") is None:
        return None
    texts = [element.findtext(f"size/{side}") for side in ("width", "height")]
    width, height = (finite(text) for text in texts)
    if width is None or height is None or width != int(width) or height != int(height):
        what = f"<size> is {shown(texts[0])} x {shown(texts[1])}, not two whole numbers"
        faults.add(xml, what, "correct or remove it")
        return None
    return int(width), int(height)


def _read_lists(root: Path, given: str | None, image_of: dict[str, Path], faults: Faults) -> dict[str, str] | None:
    """Return the split of each listed image, by key; None if there are no split lists."""
    if given is not None:
        folder = recognised(root, given, (), "split lists", "split_lists", faults)
    else:
        usual = next((name for name in USUAL_SPLIT_LISTS if (root / name).is_dir()), None)
        folder = inside(root, root, usual, faults, root / usual) if usual is not None else None
    if folder is None:
        return None
    by_stem = {path.stem: path for path in files_in(folder, (".txt",), faults)}
    files = {name: by_stem[name] for name in (*SPLITS, "trainval") if name in by_stem}
    if not files:
        if given is not None:
            faults.add(folder, "contains no train.txt, val.txt or test.txt", "add them, or set data.split_lists: null")
        else:
            faults.note(folder, "split", "contains no train.txt, val.txt or test.txt: images are split by seed")
        return None

    listed = {name: _read_list(path, image_of, root, faults) for name, path in files.items()}
    if "train" not in listed and "trainval" in listed:
        elsewhere = {key for name in ("val", "test") for key in listed.get(name, ())}
        listed["train"] = [key for key in listed["trainval"] if key not in elsewhere]
        faults.note(files["trainval"], "split", "no train.txt: train is trainval.txt without val and test")
        files["train"] = files["trainval"]
    split_of: dict[str, str] = {}
    for name in SPLITS:
        for key in listed.get(name, ()):
            if split_of.setdefault(key, name) != name:
                what = f"{shown(key)} is listed in {split_of[key]} and in {name}"
                faults.add(files[name], what, "remove it from one of the lists")
    return split_of


def _read_list(path: Path, image_of: dict[str, Path], root: Path, faults: Faults) -> list[str]:
    text = read_text(path, faults)
    if text is None:
        return []
    keys: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) > 1:
            faults.add(path, f"line {number}: expected one name, found {len(words)} columns", "keep the name only")
            continue
        name = words[0]
        # A name may have a suffix. A dot inside a stem must not be taken for one.
        key = name if name in image_of else os.path.splitext(name)[0]
        if key in image_of:
            keys[key] = None
        elif inside(root, root, name, faults, path) is not None:
            faults.add(path, f"line {number}: there is no image {shown(name)}", "add the image or remove the line")
    if not keys and not text.strip():
        faults.add(path, f"empty split: {path.stem} has no images", "list some, or remove the file")
    return list(keys)
