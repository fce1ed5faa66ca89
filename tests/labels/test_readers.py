"""All three readers: the same images give the same dataset; all faults are reported in one list."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.foundation.errors import UserError
from src.labels.faults import Faults
from tests.labels.small_folders import (
    CAT,
    DOG,
    FORMATS,
    NAMES,
    Build,
    Read,
    message_of,
    read_and_check,
    voc_xml,
    write_image,
)

each_format = pytest.mark.parametrize(("build", "read"), FORMATS.values(), ids=FORMATS.keys())
Damage = Callable[[Path], object]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def edit_json(root: Path, change: Callable[[dict[str, list[dict[str, object]]]], object], split: str = "train") -> None:
    path = root / f"annotations/instances_{split}2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def truncate(path: Path, keep: float = 0.6) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def lead_outside(path: Path) -> None:
    root = next(parent for parent in path.parents if parent.name == "root")
    outside = root.parent / f"outside{path.suffix}"
    path.rename(outside)
    path.symlink_to(outside)


@each_format
def test_known_boxes(build: Build, read: Read, tmp_path: Path) -> None:
    build(tmp_path)
    dataset, faults = read_and_check(read, tmp_path)
    assert dataset.class_names == ("cat", "dog")
    of_stem = {image.path.stem: image for image in dataset.images}
    assert {split: tuple(s for s, i in of_stem.items() if i.split == split) for split in NAMES} == NAMES
    np.testing.assert_allclose(of_stem["a"].boxes_xyxy, [CAT, DOG], atol=1e-9)
    assert of_stem["a"].classes.tolist() == [0, 1]
    assert of_stem["a"].size_wh == (100, 80)
    assert of_stem["b"].classes.tolist() == [1]
    assert of_stem["f"].boxes_xyxy.shape == (0, 4)  # a background image
    assert not faults.mends
    assert not faults.notes


def voc(damage: Damage) -> tuple[str, Damage]:
    return "voc", damage


def coco(damage: Damage) -> tuple[str, Damage]:
    return "coco", damage


def yolo(damage: Damage) -> tuple[str, Damage]:
    return "yolo", damage


A_XML, A_TXT, YAML = "Annotations/a.xml", "labels/train/a.txt", "data.yaml"
TRAIN_JSON = "annotations/instances_train2017.json"
FATAL = {
    "voc: truncated XML": (*voc(lambda root: truncate(root / A_XML)), r"Annotations/a.xml: broken XML \(.*line"),
    "voc: empty XML": (*voc(lambda root: (root / A_XML).write_text("")), "Annotations/a.xml: broken XML"),
    "voc: another document": (
        *voc(lambda root: (root / A_XML).write_text("<html/>")),
        "expected the element <annotation>, found 'html'",
    ),
    "voc: entity bomb": (
        *voc(lambda root: (root / A_XML).write_text('<!DOCTYPE a [<!ENTITY b "&c;">]>' + voc_xml("a"))),
        "a.xml: declares a document type or entities",
    ),
    "voc: not UTF-8": (*voc(lambda root: (root / A_XML).write_bytes(b"<annotation>\xff")), "a.xml: not UTF-8 text"),
    "voc: a folder named like a label": (
        *voc(lambda root: ((root / A_XML).unlink(), (root / A_XML).mkdir())),
        "a.xml: a folder where a file was expected",
    ),
    "voc: not a number": (
        *voc(lambda root: replace(root / A_XML, "<xmin>10<", "<xmin>ten<")),
        "a.xml: object 1: <xmin> is 'ten', not a finite number",
    ),
    "voc: nan": (*voc(lambda root: replace(root / A_XML, ">10<", ">nan<")), "<xmin> is 'nan', not a finite number"),
    "voc: inf": (*voc(lambda root: replace(root / A_XML, ">50<", ">1e999<")), "<xmax> is '1e999', not a finite"),
    "voc: no box": (
        *voc(lambda root: replace(root / A_XML, "<xmin>10</xmin>", "")),
        "object 1: <xmin> is None, not a finite number",
    ),
    "voc: no class": (*voc(lambda root: replace(root / A_XML, "<name>cat</name>", "")), "object 1 has no <name>"),
    "voc: label without image": (
        *voc(lambda root: (root / "Annotations/z.xml").write_text(voc_xml("z"))),
        "Annotations/z.xml: label without image",
    ),
    "voc: wrong size": (
        *voc(lambda root: replace(root / A_XML, ">80</height>", ">81</height>")),
        "a.xml: the label gives 100x81 px, but the image is 100x80 px",
    ),
    "voc: size in words": (
        *voc(lambda root: replace(root / A_XML, ">80</height>", ">tall</height>")),
        "<size> is '100' x 'tall', not two whole numbers",
    ),
    "voc: filename outside of the root": (
        *voc(lambda root: replace(root / A_XML, "a.jpg", "../../a.jpg")),
        "a.xml: '../../a.jpg' leads outside of data.root",
    ),
    "voc: filename of another image": (
        *voc(lambda root: replace(root / A_XML, "a.jpg", "b.jpg")),
        "<filename> is 'b.jpg', but the name of the XML matches JPEGImages/a.jpg",
    ),
    "voc: two images of one stem": (
        *voc(lambda root: write_image(root / "JPEGImages/a.png")),
        "JPEGImages/a.png: has the same stem as JPEGImages/a.jpg",
    ),
    "voc: in two splits": (
        *voc(lambda root: (root / "ImageSets/Main/val.txt").write_text("a\nc\nd\n")),
        "ImageSets/Main/val.txt: 'a' is listed in train and in val",
    ),
    "voc: list names no image": (
        *voc(lambda root: (root / "ImageSets/Main/val.txt").write_text("c\nzz\n")),
        "ImageSets/Main/val.txt: line 2: there is no image 'zz'",
    ),
    "voc: list leads outside": (
        *voc(lambda root: (root / "ImageSets/Main/val.txt").write_text("c\n../../secret\n")),
        "val.txt: '../../secret' leads outside of data.root",
    ),
    "voc: list with two columns": (
        *voc(lambda root: (root / "ImageSets/Main/val.txt").write_text("c 1\nd\n")),
        "val.txt: line 1: expected one name, found 2 columns",
    ),
    "voc: empty list": (
        *voc(lambda root: (root / "ImageSets/Main/test.txt").write_text("\n")),
        "test.txt: empty split: test has no images",
    ),
    "voc: truncated image": (
        *voc(lambda root: truncate(root / "JPEGImages/a.jpg")),
        r"JPEGImages/a.jpg: not a readable image \(image file is truncated",
    ),
    "voc: image of no bytes": (
        *voc(lambda root: (root / "JPEGImages/a.jpg").write_bytes(b"")),
        "JPEGImages/a.jpg: not a readable image",
    ),
    "voc: text named like an image": (
        *voc(lambda root: (root / "JPEGImages/a.jpg").write_text("hello")),
        r"JPEGImages/a.jpg: not a readable image \(none of BMP, JPEG, PNG",
    ),
    "voc: image too small to train on": (
        *voc(lambda root: write_image(root / "JPEGImages/a.jpg", (100, 9))),
        "JPEGImages/a.jpg: 100x9 px, smaller than the minimum of 10 px",
    ),
    "voc: image is a link to outside": (
        *voc(lambda root: lead_outside(root / "JPEGImages/a.jpg")),
        "JPEGImages/a.jpg: a link that leads outside of data.root",
    ),
    "voc: image is a link to nothing": (
        *voc(lambda root: (root / "JPEGImages/z.jpg").symlink_to("zz.jpg")),
        "JPEGImages/z.jpg: a broken link or a special file where a file was expected",
    ),
    "voc: a linked folder": (
        *voc(lambda root: (root / "JPEGImages/more").symlink_to(root / "Annotations")),
        "JPEGImages/more: a link to a folder",
    ),
    "coco: truncated JSON": (*coco(lambda root: truncate(root / TRAIN_JSON)), "train2017.json: broken JSON"),
    "coco: a list": (*coco(lambda root: (root / TRAIN_JSON).write_text("[]")), r"expected a JSON object, found \[\]"),
    "coco: deep nesting": (
        *coco(lambda root: (root / TRAIN_JSON).write_text("[" * 100_000)),
        "train2017.json: broken JSON",
    ),
    "coco: not UTF-8": (*coco(lambda root: (root / TRAIN_JSON).write_bytes(b'{"a\xff')), "not UTF-8 text"),
    "coco: no images": (
        *coco(lambda root: edit_json(root, lambda c: c.pop("images"))),
        "images: expected a list, found None",
    ),
    "coco: empty split": (
        *coco(lambda root: edit_json(root, lambda c: c.update(images=[], annotations=[]))),
        "train2017.json: empty split: images is empty",
    ),
    "coco: entry is no object": (
        *coco(lambda root: edit_json(root, lambda c: c["annotations"].append(1))),  # type: ignore[arg-type]  # deliberate
        r"annotations\[3\]: expected an object, found 1",
    ),
    "coco: id twice": (
        *coco(lambda root: edit_json(root, lambda c: c["images"][1].update(id=0))),
        r"images\[1\].id: expected a unique id, found 0",
    ),
    "coco: annotation of no image": (
        *coco(lambda root: edit_json(root, lambda c: c["annotations"][0].update(image_id=99))),
        r"label without image: annotations\[0\].image_id 99 is not the id of an image",
    ),
    "coco: image is not there": (
        *coco(lambda root: (root / "images/train2017/a.jpg").unlink()),
        r"label without image: images\[0\].file_name 'a.jpg' is not there",
    ),
    "coco: unknown class": (
        *coco(lambda root: edit_json(root, lambda c: c["annotations"][0].update(category_id=4))),
        r"unknown class: annotations\[0\].category_id 4 is not the id of a category",
    ),
    "coco: another name in another split": (
        *coco(lambda root: edit_json(root, lambda c: c["categories"][0].update(name="wolf"), "val")),
        "val2017.json: category 7 is 'wolf' here, but 'dog' in another file",
    ),
    "coco: box of three numbers": (
        *coco(lambda root: edit_json(root, lambda c: c["annotations"][0].update(bbox=[1, 2, 3]))),
        r"annotations\[0\].bbox: expected \[x, y, width, height\], found \[1, 2, 3\]",
    ),
    "coco: nan": (
        *coco(lambda root: edit_json(root, lambda c: c["annotations"][0].update(bbox=[1, 2, 3, float("nan")]))),
        r"annotations\[0\].bbox: expected 4 finite numbers, found \[1, 2, 3, nan\]",
    ),
    "coco: number too large": (
        *coco(lambda root: edit_json(root, lambda c: c["annotations"][0].update(bbox=[1, 2, 3, 10**400]))),
        r"annotations\[0\].bbox: expected 4 finite numbers",
    ),
    "coco: wrong size": (
        *coco(lambda root: edit_json(root, lambda c: c["images"][0].update(width=200))),
        "a.jpg: the label gives 200x80 px, but the image is 100x80 px",
    ),
    "coco: in two splits": (
        *coco(lambda root: edit_json(root, lambda c: c["images"][0].update(file_name="../train2017/a.jpg"), "val")),
        r"images\[0\].file_name '../train2017/a.jpg' is listed in annotations/instances_",
    ),
    "coco: absolute name": (
        *coco(lambda root: edit_json(root, lambda c: c["images"][0].update(file_name="/etc/hostname"))),
        "'/etc/hostname' leads outside of data.root",
    ),
    "coco: name with a null byte": (
        *coco(lambda root: edit_json(root, lambda c: c["images"][0].update(file_name="a\0.jpg"))),
        "is not a path",
    ),
    "yolo: broken YAML": (*yolo(lambda root: (root / YAML).write_text("names: [cat")), "data.yaml: broken YAML"),
    "yolo: odd scalar": (*yolo(lambda root: (root / YAML).write_text('a: !!int ""')), "data.yaml: broken YAML"),
    "yolo: YAML is a list": (*yolo(lambda root: (root / YAML).write_text("- a")), "expected keys and values"),
    "yolo: no data.yaml": (
        *yolo(lambda root: (root / YAML).unlink()),
        "data.root: class names and splits: expected data.yaml or data.yml or .*, found none",
    ),
    "yolo: no names": (
        *yolo(lambda root: replace(root / YAML, "names: [cat, dog]", "")),
        "data.yaml: names: expected a list of class names, found None",
    ),
    "yolo: names with a gap": (
        *yolo(lambda root: replace(root / YAML, "[cat, dog]", "{0: cat, 2: dog}")),
        r"names: expected the keys 0 to 1, found \[0, 2\]",
    ),
    "yolo: a name that YAML reads as false": (
        *yolo(lambda root: replace(root / YAML, "[cat, dog]", "[cat, no]")),
        "names: expected text, found False: put it in quotes",
    ),
    "yolo: wrong nc": (
        *yolo(lambda root: replace(root / YAML, "names", "nc: 3\nnames")),
        "nc is 3, but names has 2 entries",
    ),
    "yolo: path outside of the root": (
        *yolo(
            lambda root: (
                replace(root / YAML, "names", "path: ../elsewhere\nnames"),
                (root / "images/val").rename(root / "images/v"),
            )
        ),
        "data.yaml: path: '../elsewhere' leads outside of data.root: remove the key",
    ),
    "yolo: split outside of the root": (
        *yolo(lambda root: replace(root / YAML, "images/val", "../val")),
        "data.yaml: val: '../val' leads outside of data.root",
    ),
    "yolo: split is not there": (
        *yolo(lambda root: replace(root / YAML, "images/val", "images/valley")),
        "val: 'images/valley' is not a folder, a list of images or an image",
    ),
    "yolo: split is a number": (
        *yolo(lambda root: replace(root / YAML, "images/val", "3")),
        "val: expected a folder or a list of images, found 3",
    ),
    "yolo: empty split": (
        *yolo(lambda root: ((root / "images/empty").mkdir(), replace(root / YAML, "images/test", "images/empty"))),
        r"data.yaml: empty split: test \('images/empty'\) has no images",
    ),
    "yolo: in two splits": (
        *yolo(lambda root: replace(root / YAML, "images/val", "images/train")),
        "images/train/a.jpg: is listed in train and in val",
    ),
    "yolo: list names no image": (
        *yolo(
            lambda root: ((root / "v.txt").write_text("images/val/zz.jpg"), replace(root / YAML, "images/val", "v.txt"))
        ),
        "v.txt: line 1: there is no image 'images/val/zz.jpg'",
    ),
    "yolo: four columns": (
        *yolo(lambda root: (root / A_TXT).write_text("0 .5 .5 .5\n")),
        r"labels/train/a.txt: line 1: expected 5 columns \(class x_center .* height\) or a polygon, found 4",
    ),
    "yolo: a confidence": (
        *yolo(lambda root: (root / A_TXT).write_text("0 .5 .5 .5 .5 .87\n")),
        "columns .*, found 6: remove the last column if it is a confidence",
    ),
    "yolo: keypoints": (
        *yolo(
            lambda root: (
                (root / A_TXT).write_text("0 .5 .5 .5 .5 .1 .1\n"),
                replace(root / YAML, "names", "kpt_shape: [1, 2]\nnames"),
            )
        ),
        "columns .*, found 7: remove the keypoints, and kpt_shape",
    ),
    "yolo: commas": (
        *yolo(lambda root: (root / A_TXT).write_text("0,.5,.5,.5,.5\n")),
        "columns .*, found 1: separate the columns by spaces",
    ),
    "yolo: class out of range": (
        *yolo(lambda root: (root / A_TXT).write_text("0 .5 .5 .5 .5\n2 .5 .5 .5 .5\n")),
        "a.txt: line 2: class index 2 is out of range 0 to 1",
    ),
    "yolo: negative class": (
        *yolo(lambda root: (root / A_TXT).write_text("-1 .5 .5 .5 .5\n")),
        "a.txt: line 1: class index -1 is out of range",
    ),
    "yolo: class is a fraction": (
        *yolo(lambda root: (root / A_TXT).write_text("0.5 .5 .5 .5 .5\n")),
        "a.txt: line 1: class '0.5' is not a whole number",
    ),
    "yolo: nan": (
        *yolo(lambda root: (root / A_TXT).write_text("0 .5 nan .5 .5\n")),
        "a.txt: line 1: y_center 'nan' is not a finite number",
    ),
    "yolo: inf": (*yolo(lambda root: (root / A_TXT).write_text("0 inf .5 .5 .5\n")), "x_center 'inf' is not a finite"),
    "yolo: pixels": (
        *yolo(lambda root: (root / A_TXT).write_text("0 30 40 40 40\n")),
        "a.txt: line 1: x_center 30 is not a fraction of the image's side",
    ),
    "yolo: not UTF-8": (*yolo(lambda root: (root / A_TXT).write_bytes(b"\xff\xfe0")), "a.txt: not UTF-8 text"),
    "yolo: label without image": (
        *yolo(lambda root: (root / "labels/val/z.txt").write_text("")),
        "labels/val/z.txt: label without image",
    ),
    "yolo: label is a link to outside": (
        *yolo(lambda root: lead_outside(root / A_TXT)),
        "a.txt.* leads outside of data.root",
    ),
    "yolo: label is a folder": (
        *yolo(lambda root: ((root / A_TXT).unlink(), (root / A_TXT).mkdir())),
        "a.txt: .*(a folder where a file was expected|cannot be read)",
    ),
    "yolo: two images, one label": (
        *yolo(lambda root: write_image(root / "images/train/a.png")),
        "images/train/a.png: shares its label labels/train/a.txt with images/train/a.jpg",
    ),
    "yolo: truncated image": (
        *yolo(lambda root: truncate(root / "images/val/c.jpg", 0.9)),
        "images/val/c.jpg: not a readable image",
    ),
}


@pytest.mark.parametrize(("form", "damage", "expected"), FATAL.values(), ids=FATAL.keys())
def test_fault_is_reported(form: str, damage: Damage, expected: str, tmp_path: Path) -> None:
    build, read = FORMATS[form]
    root = tmp_path / "outer" / "root"
    build(root)
    damage(root)
    assert re.search(expected, message_of(read, root))


def test_class_that_is_not_in_the_given_names(tmp_path: Path) -> None:
    build, read = FORMATS["voc"]
    build(tmp_path)
    expected = "a.xml: unknown class 'dog', expected one of cat, bird: correct it, or set data.class_names"
    assert expected in message_of(read, tmp_path, class_names=["cat", "bird"])


@each_format
def test_missing_root(build: Build, read: Read, tmp_path: Path) -> None:
    message = message_of(read, tmp_path / "nowhere")
    assert "data.root: does not exist: put the labelled images there, or correct data.root" in message


@each_format
def test_root_is_a_file(build: Build, read: Read, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "data.root: is not a folder" in message_of(read, tmp_path / "file")


@each_format
def test_empty_root(build: Build, read: Read, tmp_path: Path) -> None:
    assert "expected" in message_of(read, tmp_path)


@each_format
def test_configured_name_that_leads_outside(build: Build, read: Read, tmp_path: Path) -> None:
    root = tmp_path / "root"
    build(root)
    (tmp_path / "elsewhere").mkdir()
    name = "data_yaml" if build.__name__.startswith("yolo") else "annotations"
    assert "leads outside of data.root" in message_of(read, root, **{name: "../elsewhere"})


def test_all_faults_in_one_list_sorted_by_file(tmp_path: Path) -> None:
    build, read = FORMATS["voc"]
    build(tmp_path)
    truncate(tmp_path / "JPEGImages/c.jpg")
    truncate(tmp_path / "Annotations/b.xml")
    replace(tmp_path / A_XML, ">10<", ">nan<")
    replace(tmp_path / A_XML, ">20<", ">inf<")
    (tmp_path / "ImageSets/Main/val.txt").write_text("a\nc\nd\n")
    with pytest.raises(UserError) as ended:
        read_and_check(read, tmp_path)
    first, *rest = str(ended.value).splitlines()
    assert first == f"{tmp_path}: 5 faults in 4 files; nothing was written"
    assert [line.split(":")[0].strip() for line in rest] == [
        "Annotations/a.xml",
        "Annotations/a.xml",
        "Annotations/b.xml",
        "ImageSets/Main/val.txt",
        "JPEGImages/c.jpg",
    ]


def test_mends_of_boxes(tmp_path: Path) -> None:
    build, read = FORMATS["yolo"]
    build(tmp_path)
    lines = ["0 .5 .5 .5 .5", "0 .5 .5 .5 .5", "1 .5 .5 .5 .5", "1 .95 .5 .2 .5", "0 .5 .5 0 .5", "0 1.5 .5 .2 .2"]
    (tmp_path / A_TXT).write_text("\n".join(lines))
    dataset, faults = read_and_check(read, tmp_path)
    image = next(image for image in dataset.images if image.path.stem == "a")
    np.testing.assert_allclose(image.boxes_xyxy, [[25, 20, 75, 60], [25, 20, 75, 60], [85, 20, 100, 60]])
    assert image.classes.tolist() == [0, 1, 1]
    assert faults.mend_counts() == {"clipped": 1, "no_size": 2, "doubled": 1, "swapped": 0, "polygon": 0}
    assert [mend.what for mend in faults.mends] == [
        "box 2 (cat 25 20 75 60 px) duplicates box 1: dropped",
        "box 4 (dog 85 20 105 60 px) crosses the edge of the image: clipped",
        "box 5 (cat 50 20 50 60 px) has no size: dropped",
        "box 6 (cat 140 32 160 48 px) is outside of the image: dropped",
    ]
    assert {mend.file for mend in faults.mends} == {A_TXT}
    with pytest.raises(UserError, match=r"4 faults in 1 file; (?s:.)*box 5 .* or set prepare_labels.strict: false"):
        read_and_check(read, tmp_path, strict=True)


def test_rounding_to_six_digits_is_not_a_mend(tmp_path: Path) -> None:
    build, read = FORMATS["yolo"]
    build(tmp_path)
    (tmp_path / A_TXT).write_text("0 0.166667 0.5 0.333335 1\n")
    dataset, faults = read_and_check(read, tmp_path, strict=True)
    image = next(image for image in dataset.images if image.path.stem == "a")
    assert image.boxes_xyxy[0, 0] == 0
    assert not faults.mends


@each_format
def test_order_of_files_on_disk_does_not_matter(
    build: Build, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    first, _ = read_and_check(read, tmp_path)
    real = os.scandir
    monkeypatch.setattr(os, "walk", _backwards(os.walk))
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed([self / entry.name for entry in real(self)]))
    second, _ = read_and_check(read, tmp_path)
    assert [image.path for image in first.images] == [image.path for image in second.images]
    assert first.class_names == second.class_names


def _backwards(walk: Callable[..., object]) -> Callable[..., object]:
    def walked(top: Path) -> object:
        for parent, folders, names in walk(top):  # type: ignore[attr-defined]  # os.walk yields
            folders.reverse()
            yield parent, folders, names[::-1]

    return walked


MUTATED = {
    "voc": ("Annotations/a.xml", "Annotations/c.xml", "ImageSets/Main/train.txt", "JPEGImages/a.jpg"),
    "coco": (TRAIN_JSON, "annotations/instances_val2017.json", "images/train2017/a.jpg"),
    "yolo": (YAML, A_TXT, "labels/val/c.txt", "images/train/a.jpg"),
}
PIECES = (
    b"<",
    b">",
    b"&",
    b"nan",
    b"-",
    b"1e999",
    b"../",
    b"\xff",
    b"\0",
    b'"',
    b"[",
    b"{",
    b",",
    b":",
    b"\n",
    b"9" * 400,
)


@each_format
def test_damaged_files_raise_only_user_errors(build: Build, read: Read, tmp_path: Path) -> None:
    """Bytes are deleted, doubled, replaced and inserted at random; the readers accept or reject the result."""
    build(tmp_path)
    chance = random.Random(0)
    form = next(name for name, value in FORMATS.items() if value[0] is build)
    refused = 0
    for _ in range(250):
        path = tmp_path / chance.choice(MUTATED[form])
        original = path.read_bytes()
        content = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(content) + 1)
            end = min(len(content), start + chance.randint(0, 12))
            content[start:end] = chance.choice((b"", chance.choice(PIECES), bytes(content[start:end]) * 2))
        path.write_bytes(bytes(content))
        refused += bool(message_of(read, tmp_path))
        path.write_bytes(original)
    assert refused > 50


def test_fault_of_a_file_name_that_is_not_utf8_can_be_printed(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    faults.add(Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.jpg")), "odd", "rename it")
    with pytest.raises(UserError) as ended:
        faults.end_if_fatal(strict=False)
    str(ended.value).encode()
