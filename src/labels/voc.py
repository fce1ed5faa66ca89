"""Pascal VOC: an XML file per image, an image with the same stem, text files that list the images of each split.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from src.foundation.prepared import IMAGE_SUFFIXES
from src.labels.assembly import Draft, assemble
from src.labels.conventions import VOC
from src.labels.dataset import Dataset
from src.labels.faults import Faults, shown
from src.labels.folders import files_below, finite, inside, is_folder, read_xml_text, recognised, subfolder
from src.labels.limits import parse_xml, read_start
from src.labels.names import spelled_alike
from src.labels.polygons import box_of
from src.labels.split_folders import check_unread, is_mask, splits_by_folder
from src.labels.told_sizes import told_size
from src.labels.voc_images import VocImages, by_key
from src.labels.voc_lists import SplitLists, read_lists

USUAL_ANNOTATIONS = ("Annotations", "xml", "labels")
USUAL_IMAGES = ("JPEGImages", "images")
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
    image without objects is a background image. Objects marked `difficult` are kept. An object with a polygon and no
    box gets the polygon's box.

    XML files may be in a folder of their own, beside the images, or both. The splits are those of the split lists (see
    voc_lists.py); without any, those of the folders in which the images lie (see split_folders.py); without either,
    `split` is None. An image that a list names and that has no XML is a fault: its label was lost. Without lists it is
    a background image, with a note. With lists, images in none of them are left out, with a note.

    Args:
        root: the dataset folder. A path that leads outside of it is a fault.
        faults: collects all faults, mends and notes.
        annotations, images, split_lists: folders, relative to the root; None: the usual names in any case. Without
            them, XML files and images may be anywhere below the root.
        class_names: the names by index; None: all names that occur, sorted.
    """
    if not is_folder(root, faults):
        return Dataset((), ())
    folders = _folders(root, annotations, images, faults)
    if folders is None:
        return Dataset((), ())
    annotation_folder, image_folder = folders
    bases = (annotation_folder, image_folder, root)
    paths = [path for path in files_below(image_folder, IMAGE_SUFFIXES, faults) if not is_mask(path)]
    image_of = by_key(paths, bases, faults)
    if not image_of:
        faults.add(image_folder, "contains no images", "add them, or set data.images")
    found_images = VocImages(image_of, image_folder, root)
    xmls = {xml: None for folder in bases[:2] for xml in files_below(folder, (".xml",), faults)}
    if annotations is None:
        xmls |= {xml: None for xml in files_below(root, (".xml",), faults) if _is_label(xml)}
    xml_of, annotation_of = _read_all(by_key(xmls, bases, faults), found_images, root, faults)
    lists = read_lists(root, split_lists, frozenset(image_of), found_images.of_line, faults)
    _note_elsewhere(xml_of, image_of, annotation_folder, faults)

    names = _class_names(class_names, xml_of, annotation_of, faults)
    index_of = {name: index for index, name in enumerate(names)}
    split_of = _splits(image_of, xml_of, lists, root, faults)
    drafts = []
    for key, image in image_of.items():
        if split_of is not None and key not in split_of:
            continue
        annotation = annotation_of.get(key, _Annotation(None, [], []))
        drafts.append(
            Draft(
                image=image,
                label=xml_of.get(key, image),
                size_wh=annotation.size_wh,
                written=np.array(annotation.boxes_xyxy, dtype=np.float64).reshape(-1, 4),
                classes=np.array([index_of.get(name, 0) for name in annotation.names], dtype=np.int64),
                split=None if split_of is None else split_of[key],
            )
        )
    check_unread(root, set(image_of.values()), lambda image: images is None and _xml_beside(image), faults)
    # An unknown class is a fatal fault. Its boxes have index 0 here, which only affects the text of mends.
    return Dataset(names, assemble(drafts, VOC, names or ("",), faults))


def _class_names(
    given: Sequence[str] | None, xml_of: dict[str, Path], annotation_of: dict[str, _Annotation], faults: Faults
) -> tuple[str, ...]:
    """Return the names by index: the given ones, else all that occur, sorted. A name that is not given is a fault."""
    if given is None:
        return tuple(sorted({name for annotation in annotation_of.values() for name in annotation.names}))
    for key, annotation in annotation_of.items():
        for name in dict.fromkeys(annotation.names):
            if name not in given:
                what = f"unknown class {shown(name)}, expected one of {', '.join(given)}"
                faults.add(xml_of[key], what, "correct it, or set data.class_names")
    return tuple(given)


def _folders(root: Path, annotations: str | None, images: str | None, faults: Faults) -> tuple[Path, Path] | None:
    """Return the folders of XML files and of images; None with a fault if there is none."""
    # Without folders of the usual names, XML files and images are together, perhaps in a folder per split.
    together = (".",) if annotations is None and files_below(root, (".xml",), faults) else ()
    image_name = subfolder(root, USUAL_IMAGES)
    usual_images = (image_name,) if image_name is not None else (*USUAL_IMAGES, *together)
    image_folder = recognised(root, images, usual_images, "images", "images", faults)
    annotation_name = subfolder(root, USUAL_ANNOTATIONS)
    usual = (annotation_name,) if annotation_name is not None else USUAL_ANNOTATIONS
    if annotation_name is None and together:
        annotation_folder = image_folder
    else:
        annotation_folder = recognised(root, annotations, usual, "XML files", "annotations", faults)
    return None if annotation_folder is None or image_folder is None else (annotation_folder, image_folder)


def _xml_beside(image: Path) -> bool:
    return image.with_suffix(".xml").is_file()


def _is_label(xml: Path) -> bool:
    """Return whether an XML file where none is expected looks like a label."""
    return b"<annotation" in read_start(xml).replace(b"\0", b"")  # UTF-16 has a zero in each character


def _read_all(
    xmls: dict[str, Path], images: VocImages, root: Path, faults: Faults
) -> tuple[dict[str, Path], dict[str, _Annotation]]:
    """Return XML files and annotations, by the key of their image."""
    xml_of = {key: xml for key, xml in xmls.items() if key in images.path_of}
    annotation_of: dict[str, _Annotation] = {}
    for key, xml in xmls.items():
        element = _parse(xml, faults)
        meant = _image_key(element, xml, key, images, root, faults) if element is not None else None
        if element is None or meant is None:
            continue
        if xml_of.setdefault(meant, xml) != xml:
            target, first = faults.name(images.path_of[meant]), faults.name(xml_of[meant])
            faults.add(xml, f"a second label for {target}; the first is {first}", "remove one of them")
            continue
        annotation_of[meant] = _annotation(element, xml, faults)
    return xml_of, annotation_of


def _splits(
    image_of: dict[str, Path], xml_of: dict[str, Path], lists: SplitLists | None, root: Path, faults: Faults
) -> dict[str, str] | None:
    """Return the split of each image that is kept, by key; None if there are no splits."""
    if lists is not None:
        for key, image in image_of.items():
            if key not in lists.split_of:
                faults.note(image, "left_out", "in no split list: left out")
            elif key not in xml_of:
                listed_in = faults.name(lists.file_of[lists.split_of[key]])
                what = f"is listed in {listed_in} and has no XML: its label is lost"
                faults.add(image, what, "add the XML (without objects, if there is none), or remove the line")
        return lists.split_of
    for key, image in image_of.items():
        if key not in xml_of:
            faults.note(image, "no_label_file", "no XML with this stem: kept as background")
    by_image = splits_by_folder(image_of.values(), root, faults)
    return None if by_image is None else {key: by_image[image] for key, image in image_of.items()}


def _note_elsewhere(
    xml_of: dict[str, Path], image_of: dict[str, Path], annotation_folder: Path, faults: Faults
) -> None:
    """Note XML files that are not where most are, and those that are spelled otherwise than their image."""
    for key, xml in xml_of.items():
        if not xml.is_relative_to(annotation_folder):
            faults.note(xml, "elsewhere", f"a label outside of {faults.name(annotation_folder)}: read there")
        if xml.stem != image_of[key].stem and spelled_alike(xml.stem, image_of[key].stem):
            faults.note(xml, "spelling", f"the label of {faults.name(image_of[key])}, spelled otherwise: matched")


def _parse(xml: Path, faults: Faults) -> ElementTree.Element | None:
    text = read_xml_text(xml, faults)
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


def _image_key(
    element: ElementTree.Element, xml: Path, key: str, images: VocImages, root: Path, faults: Faults
) -> str | None:
    """Return the key of the XML's image: by the name of the XML, else by <filename>.

    It is a fault if neither identifies an image, or if they identify different images.
    """
    filename = (element.findtext("filename") or "").strip()
    # A path of another machine tells nothing but its last name.
    name = filename.rpartition("/")[2] if filename.startswith("/") else filename
    path = inside(root, images.folder, name, faults, xml) if name else None
    named = None
    if path is not None and path.is_relative_to(images.folder):
        named = images.of_filename(path.relative_to(images.folder).as_posix())
    if key in images.path_of:
        if named is not None and named != key:
            target = faults.name(images.path_of[key])
            what = f"<filename> is {shown(filename)}, but the name of the XML matches {target}"
            faults.add(xml, what, "correct <filename> or rename the XML")
        return key
    found = images.of_xml(key) or named
    if found is None:
        what = f"label without image: no image named {shown(xml.stem)}{images.hint(xml)}"
        faults.add(xml, what, "add the image or remove the label")
    return found


def _annotation(element: ElementTree.Element, xml: Path, faults: Faults) -> _Annotation:
    names, boxes = [], []
    for number, item in enumerate(element.findall("object"), start=1):
        name = (item.findtext("name") or "").strip()
        if not name:
            faults.add(xml, f"object {number} has no <name>", "add the name of its class")
        corners = _corners(item, number, name, xml, faults)
        if name and corners is not None:
            names.append(name)
            boxes.append(corners)
    return _Annotation(_size(element, xml, faults), names, boxes)


def _corners(item: ElementTree.Element, number: int, name: str, xml: Path, faults: Faults) -> list[float] | None:
    """Return the corners of an object's box, px; None with a fault if there are none."""
    if item.find("bndbox") is None or not len(item.find("bndbox") or ()):
        box = box_of(_polygon(item))
        if box is None:
            others = ", ".join(f"<{child.tag}>" for child in item if len(child) and child.tag != "bndbox") or "none"
            what = f"object {number} has no <bndbox> and no <polygon> of three points or more (other shapes: {others})"
            faults.add(xml, what, "add the box, or remove the object")
        else:
            shape = f"object {number} ({name}) has a <polygon> and no <bndbox>: the polygon's box is taken"
            faults.mended(xml, "polygon", shape, slight=True)
        return box
    texts = [item.findtext(f"bndbox/{corner}") for corner in CORNERS]
    corners = [finite(text) for text in texts]
    for corner, text, value in zip(CORNERS, texts, corners, strict=True):
        if value is None:
            faults.add(xml, f"object {number}: <{corner}> is {shown(text)}, not a finite number", "correct it")
    return [value for value in corners if value is not None] if None not in corners else None


def _polygon(item: ElementTree.Element) -> list[float]:
    """Return the numbers x y x y ... of a polygon written as <x1> <y1> <x2> ..., or as <pt> <x> <y>; else none."""
    points = [(point.findtext("x"), point.findtext("y")) for point in item.findall("polygon/pt")]
    number = 1
    while item.find(f"polygon/x{number}") is not None:
        points.append((item.findtext(f"polygon/x{number}"), item.findtext(f"polygon/y{number}")))
        number += 1
    numbers = [finite(text) for point in points for text in point]
    return [value for value in numbers if value is not None] if None not in numbers else []


def _size(element: ElementTree.Element, xml: Path, faults: Faults) -> tuple[int, int] | None:
    """Return the width and height in the label, px; None if it does not tell: the image does."""
    texts = [element.findtext(f"size/{side}") for side in ("width", "height")]
    try:
        return told_size(*texts)
    except ValueError:
        what = f"<size> is {shown(texts[0])} x {shown(texts[1])}, not two whole numbers"
        faults.add(xml, what, "correct or remove it")
        return None
