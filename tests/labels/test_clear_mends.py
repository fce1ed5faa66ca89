"""What is meant beyond doubt is read, and said on the screen: names, encodings, sizes, polygons, labels elsewhere."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.labels.coco import read_coco
from src.labels.dataset import Dataset
from src.labels.faults import Faults
from src.labels.summary import note_classes_without_boxes
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo
from tests.labels.small_folders import (
    NAMES,
    STEMS,
    Build,
    Read,
    boxes_of,
    coco_content,
    coco_folder,
    message_of,
    read_and_check,
    voc_folder,
    voc_xml,
    write_image,
    yolo_folder,
    yolo_label,
)

A_XML, A_TXT, TRAIN_JSON = "Annotations/a.xml", "labels/train/a.txt", "annotations/instances_train2017.json"


def replaced(build: Build, name: str, old: str, new: str) -> Build:
    def damaged(root: Path) -> None:
        build(root)
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return damaged


def renamed(build: Build, old: str, new: str) -> Build:
    def damaged(root: Path) -> None:
        build(root)
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return damaged


def coco_edited(edit: Callable[[dict[str, Any]], object]) -> Build:
    def damaged(root: Path) -> None:
        coco_folder(root)
        content = json.loads((root / TRAIN_JSON).read_text())
        edit(content)
        (root / TRAIN_JSON).write_text(json.dumps(content))

    return damaged


def coco_named(in_json: str, on_disk: str) -> Build:
    edited = coco_edited(lambda content: content["images"][0].update(file_name=in_json))
    return renamed(edited, "images/train2017/a.jpg", f"images/train2017/{on_disk}")


def voc_encoded(head: str, encoding: str) -> Build:
    def build(root: Path) -> None:
        voc_folder(root)
        text = voc_xml("a").replace("<filename>a.jpg</filename>", "<folder>细胞</folder>")
        (root / A_XML).write_bytes((head + text).encode(encoding))

    return build


def voc_listed_as(line: str, name: str = "a") -> Build:
    """Return a folder whose image a has another name, and a line in the list of train."""

    def build(root: Path) -> None:
        voc_folder(root)
        (root / "JPEGImages/a.jpg").rename(root / f"JPEGImages/{name}.jpg")
        (root / A_XML).rename(root / f"Annotations/{name}.xml")
        (root / f"Annotations/{name}.xml").write_text(voc_xml("a").replace("<filename>a.jpg</filename>", ""))
        (root / "ImageSets/Main/train.txt").write_text(f"{line}\nb\n")

    return build


def yolo_listed_as(line: str) -> Build:
    def build(root: Path) -> None:
        yolo_folder(root)
        (root / "train.txt").write_text(f"{line}\nimages/train/b.jpg\n")
        data_yaml = root / "data.yaml"
        data_yaml.write_text(data_yaml.read_text().replace("train: images/train", "train: train.txt"))

    return build


def voc_in_a_subfolder(root: Path) -> None:
    voc_folder(root / "VOCdevkit/VOC2007")


def coco_ids_as_text(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        annotation["image_id"], annotation["category_id"] = str(annotation["image_id"]), annotation["category_id"] + 0.0


def coco_group(content: dict[str, Any]) -> None:
    """Roboflow writes the name of the project as category 0."""
    content["categories"][0]["supercategory"] = "pets"
    content["categories"].append({"id": 0, "name": "pets"})


def yolo_beside(root: Path) -> None:
    """Write half of the labels beside the images."""
    yolo_folder(root)
    for stem in NAMES["train"]:
        (root / f"labels/train/{stem}.txt").rename(root / f"images/train/{stem}.txt")


def yolo_capital(root: Path) -> None:
    yolo_folder(root)
    for name in ("images", "labels"):
        (root / name).rename(root / name.capitalize())
    (root / "data.yaml").write_text((root / "data.yaml").read_text().replace("images", "Images"))


def voc_beside(root: Path) -> None:
    voc_folder(root)
    for stem in NAMES["train"]:
        (root / f"Annotations/{stem}.xml").rename(root / f"JPEGImages/{stem}.xml")


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
SIZE = "<width>100</width><height>80</height>"
READ: dict[str, tuple[Build, Read, list[str]]] = {
    "voc: size 0": (replaced(voc_folder, A_XML, SIZE, "<width>0</width><height>0</height>"), read_voc, []),
    "voc: size null": (replaced(voc_folder, A_XML, SIZE, "<width>null</width><height/>"), read_voc, []),
    "voc: size 100.0": (replaced(voc_folder, A_XML, SIZE, "<width>100.0</width><height>80</height>"), read_voc, []),
    "voc: corners 10.0": (replaced(voc_folder, A_XML, "<xmin>10<", "<xmin>10.0<"), read_voc, []),
    "voc: GBK": (voc_encoded('<?xml version="1.0" encoding="GBK"?>', "gbk"), read_voc, []),
    "voc: gb2312": (voc_encoded('<?xml version="1.0" encoding="gb2312"?>', "gbk"), read_voc, []),
    "voc: UTF-16": (voc_encoded('<?xml version="1.0" encoding="utf-16"?>', "utf-16"), read_voc, []),
    "voc: UTF-8 that declares UTF-16": (voc_encoded('<?xml version="1.0" encoding="utf-16"?>', "utf-8"), read_voc, []),
    "voc: byte order mark": (voc_encoded("", "utf-8-sig"), read_voc, []),
    "voc: list with suffixes": (voc_listed_as("a.jpg"), read_voc, []),
    "voc: list with folders and backslashes": (voc_listed_as("JPEGImages\\a.jpg"), read_voc, []),
    "voc: list with spaces": (voc_listed_as("my image 1", "my image 1"), read_voc, []),
    "voc: list with URL encoding": (voc_listed_as("my%20image", "my image"), read_voc, []),
    "voc: list with another Unicode form": (voc_listed_as(COMPOSED, DECOMPOSED), read_voc, []),
    "voc: XML spelled otherwise": (
        renamed(voc_folder, A_XML, "Annotations/A.xml"),
        read_voc,
        ["Annotations/A.xml: the label of JPEGImages/a.jpg, spelled otherwise: matched"],
    ),
    "voc: XML files beside images": (
        voc_beside,
        read_voc,
        [f"JPEGImages/{stem}.xml: a label outside of Annotations: read there" for stem in NAMES["train"]],
    ),
    "voc: some folders below the root": (voc_in_a_subfolder, read_voc, []),
    "coco: size 0": (coco_edited(lambda c: c["images"][0].update(width=0, height=0)), read_coco, []),
    "coco: size null": (coco_edited(lambda c: c["images"][0].update(width=None, height="")), read_coco, []),
    "coco: size 100.0": (coco_edited(lambda c: c["images"][0].update(width=100.0, height="80")), read_coco, []),
    "coco: ids as text": (coco_edited(coco_ids_as_text), read_coco, []),
    "coco: backslashes": (
        coco_named("train2017\\a.jpg", "a.jpg"),
        read_coco,
        [
            f"{TRAIN_JSON}: images[0].file_name 'train2017\\\\a.jpg' is spelled otherwise than images/train2017/a.jpg: "
            "matched"
        ],
    ),
    "coco: URL encoding": (
        coco_named("my%20a.jpg", "my a.jpg"),
        read_coco,
        [
            f"{TRAIN_JSON}: images[0].file_name 'my%20a.jpg' is spelled otherwise than images/train2017/my a.jpg: "
            "matched"
        ],
    ),
    "coco: case of the suffix": (
        coco_named("a.JPG", "a.jpg"),
        read_coco,
        [f"{TRAIN_JSON}: images[0].file_name 'a.JPG' is spelled otherwise than images/train2017/a.jpg: matched"],
    ),
    "coco: a category that groups others": (
        coco_edited(coco_group),
        read_coco,
        ["data.root: category 'pets' only groups others and has no box: it is no class"],
    ),
    "coco: a polygon without box": (
        coco_edited(lambda c: c["annotations"][0].update(bbox=[], segmentation=[[10, 20, 50, 20, 50, 60, 10, 60]])),
        read_coco,
        [f"{TRAIN_JSON}: annotations[0] has a polygon and no bbox: the polygon's box is taken"],
    ),
    "voc: a polygon without box": (
        replaced(
            voc_folder,
            A_XML,
            "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>50</xmax><ymax>60</ymax></bndbox>",
            "<polygon><x1>10</x1><y1>20</y1><x2>50</x2><y2>20</y2><x3>50</x3><y3>60</y3></polygon>",
        ),
        read_voc,
        [f"{A_XML}: object 1 (cat) has a <polygon> and no <bndbox>: the polygon's box is taken"],
    ),
    "voc: corners exchanged": (
        replaced(
            voc_folder, A_XML, "<xmin>10</xmin><ymin>20</ymin><xmax>50<", "<xmin>50</xmin><ymin>20</ymin><xmax>10<"
        ),
        read_voc,
        [f"{A_XML}: box 1 (cat 50 20 10 60 px) has its corners exchanged: sorted"],
    ),
    "yolo: a polygon": (
        replaced(yolo_folder, A_TXT, "0 0.3 0.5 0.4 0.5", "0 0.1 0.25 0.5 0.25 0.5 0.75"),
        read_yolo,
        [f"{A_TXT}: line 1 is a polygon: its box is taken"],
    ),
    "yolo: class 0.0": (replaced(yolo_folder, A_TXT, "0 0.3", "0.0 0.3"), read_yolo, []),
    "yolo: keys of names as text": (
        replaced(yolo_folder, "data.yaml", "[cat, dog]", "{'1': dog, '0': cat}"),
        read_yolo,
        [],
    ),
    "yolo: nc as text": (replaced(yolo_folder, "data.yaml", "names", "nc: '2'\nnames"), read_yolo, []),
    "yolo: list with backslashes": (yolo_listed_as(".\\images\\train\\a.jpg"), read_yolo, []),
    "yolo: folders with a capital": (yolo_capital, read_yolo, []),
    "yolo: labels beside images": (
        yolo_beside,
        read_yolo,
        [f"images/train/{s}.txt: a label beside its image, not in labels/train: read there" for s in NAMES["train"]],
    ),
    "yolo: URL encoding": (
        renamed(renamed(yolo_folder, A_TXT, "labels/train/my%20a.txt"), "images/train/a.jpg", "images/train/my a.jpg"),
        read_yolo,
        ["labels/train/my%20a.txt: the label of images/train/my a.jpg, spelled otherwise: matched"],
    ),
}


def boxes_by_split(dataset: Dataset) -> dict[str, list[list[float]]]:
    """Return the boxes and classes of all images of a split, sorted."""
    return {
        split: sorted(
            [int(index), *(round(float(v), 6) for v in box)]
            for image in dataset.images
            if image.split == split
            for index, box in zip(image.classes, image.boxes_xyxy, strict=True)
        )
        for split in NAMES
    }


BOXES = {
    split: sorted([["cat", "dog"].index(name), *box] for stem in stems for name, box in boxes_of(stem))
    for split, stems in NAMES.items()
}


@pytest.mark.parametrize(("build", "read", "lines"), READ.values(), ids=READ.keys())
def test_all_boxes_are_read_and_the_screen_says_how(build: Build, read: Read, lines: list[str], tmp_path: Path) -> None:
    build(tmp_path)
    dataset, faults = read_and_check(read, tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert boxes_by_split(dataset) == BOXES
    assert faults.screen_lines() == lines


def two_spellings(root: Path) -> None:
    coco_named("my%20a.jpg", "my a.jpg")(root)
    write_image(root / "images/train2017/MY A.jpg")


def lost_xml(root: Path) -> None:
    voc_folder(root)
    (root / A_XML).unlink()


def yolo_flat_labels(root: Path) -> None:
    yolo_folder(root)
    for stem in NAMES["train"]:
        (root / f"labels/train/{stem}.txt").rename(root / f"labels/{stem}.txt")


def linked_into_a_store(root: Path) -> None:
    yolo_folder(root)
    shutil.move(root / A_TXT, root.parent / "store.txt")
    (root / A_TXT).symlink_to(root.parent / "store.txt")


REFUSED: dict[str, tuple[Build, Read, str]] = {
    "a name that two files fit": (two_spellings, read_coco, "file_name 'my%20a.jpg' is not there"),
    "a folder that is not there": (
        coco_named("1/a.jpg", "a.jpg"),
        read_coco,
        "images[0].file_name '1/a.jpg' is not there ('images/train2017/a.jpg' is there, but is not read for it)",
    ),
    "a list names an image without XML": (
        lost_xml,
        read_voc,
        "JPEGImages/a.jpg: is listed in ImageSets/Main/train.txt and has no XML: its label is lost",
    ),
    "labels in another folder": (
        yolo_flat_labels,
        read_yolo,
        "labels/a.txt: seems to be the label of images/train/a.jpg, which has none: expected at labels/train/a.txt",
    ),
    "labels are links that lead elsewhere": (
        linked_into_a_store,
        read_yolo,
        "by a link: put the file itself there",
    ),
    "an unknown encoding": (
        voc_encoded('<?xml version="1.0" encoding="klingon"?>', "utf-8"),
        read_voc,
        "a.xml: declares the unknown encoding 'klingon'",
    ),
    "another encoding than the declared": (
        voc_encoded('<?xml version="1.0" encoding="ascii"?>', "utf-8"),
        read_voc,
        "a.xml: not ascii text",
    ),
    "no box and no polygon": (
        coco_edited(lambda c: c["annotations"][0].update(bbox=[], segmentation={"counts": "x"})),
        read_coco,
        "annotations[0].bbox: expected [x, y, width, height], found []",
    ),
}


@pytest.mark.parametrize(("build", "read", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_doubt_is_refused(build: Build, read: Read, expected: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    build(root)
    assert expected in message_of(read, root)


def test_texts_that_are_no_labels(tmp_path: Path) -> None:
    """Roboflow writes README files beside data.yaml. Pictures of a document are no images of the dataset."""
    yolo_folder(tmp_path)
    for name in ("README.roboflow.txt", "labels/train/notes.txt", "labels/train/classes.txt"):
        (tmp_path / name).write_text("These are pets.\n")
    (tmp_path / "logo.svg").write_text("<svg/>")
    _, faults = read_and_check(read_yolo, tmp_path)
    assert faults.screen_lines() == [
        "labels/train/notes.txt: no label of an image, as it has no rows of numbers: left out",
        "logo.svg: nothing reads it: left out",
    ]


def test_labelled_images_that_nothing_reads_are_left_out_with_a_line(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    write_image(tmp_path / "images/more/z.jpg")
    (tmp_path / "labels/more").mkdir()
    (tmp_path / "labels/more/z.txt").write_text(yolo_label("a"))
    _, faults = read_and_check(read_yolo, tmp_path)
    assert faults.screen_lines() == ["images/more/z.jpg: nothing reads it: left out"]


def test_an_image_in_a_list_needs_no_suffix(tmp_path: Path) -> None:
    yolo_listed_as("images/train/a")(tmp_path)
    (tmp_path / "images/train/a.jpg").rename(tmp_path / "images/train/a")
    dataset, _ = read_and_check(read_yolo, tmp_path)
    assert boxes_by_split(dataset) == BOXES


def test_class_without_boxes_is_noted(tmp_path: Path) -> None:
    coco_edited(lambda content: content["categories"].append({"id": 9, "name": "bird"}))(tmp_path)
    dataset, faults = read_and_check(read_coco, tmp_path)
    note_classes_without_boxes(dataset, faults)
    assert faults.screen_lines() == ["data.root: the class 'bird' has no box"]


def test_screen_counts_many_and_shows_the_first() -> None:
    faults = Faults(Path("root"))
    for stem in reversed(STEMS[:4]):
        faults.note(Path(f"root/{stem}.jpg"), "left_out", "in no split list: left out")
    assert faults.screen_lines() == ["4 images or files are left out. The first: a.jpg: in no split list: left out"]


def test_split_lists_in_two_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    voc_folder(tmp_path / "VOC2007")
    voc_folder(tmp_path / "VOC2012")
    expected = "split lists in 2 folders (VOC2007/ImageSets/Main, VOC2012/ImageSets/Main): set data.split_lists to one"
    assert expected in message_of(read_voc, tmp_path)
    assert "there is no image" not in message_of(read_voc, tmp_path)


def test_consequences_of_a_wrong_path_are_no_faults(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    data_yaml = tmp_path / "data.yaml"
    data_yaml.write_text(data_yaml.read_text().replace("images/", "/content/pets/images/"))
    message = message_of(read_yolo, tmp_path)
    assert "3 faults in 1 file" in message
    assert "train: '/content/pets/images/train' leads outside of data.root: write a path within data.root" in message


def test_folder_of_yolo_labels_of_another_tool(tmp_path: Path) -> None:
    """A label of class names is a label, so it is refused by its image's name and not left out."""
    yolo_folder(tmp_path)
    (tmp_path / "labels/train/z.txt").write_text(yolo_label("a").replace("0 ", "cat ", 1))
    assert "labels/train/z.txt: label without image: no image named 'z'" in message_of(read_yolo, tmp_path)


def test_coco_of_one_json_whose_images_lie_in_folders(tmp_path: Path) -> None:
    for stem in STEMS:
        write_image(tmp_path / f"images/{stem}.jpg")
    (tmp_path / "result.json").write_text(json.dumps(coco_content(STEMS)).replace('"a.jpg"', '"images\\\\a.jpg"'))
    dataset, _ = read_and_check(read_coco, tmp_path)
    assert len(dataset.images) == len(STEMS)
