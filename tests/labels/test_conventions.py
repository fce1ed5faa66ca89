"""The rules of each reader for its own format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.labels.coco import read_coco
from src.labels.voc import read_voc
from src.labels.yolo import label_path, read_yolo
from tests.labels.small_folders import (
    NAMES,
    STEMS,
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

BCCD = Path(__file__).parents[3] / "shared" / "bccd"


@pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD images are not beside the project, at ../shared/bccd")
def test_bccd_counts_match_its_readme() -> None:
    names = ("RBC", "WBC", "Platelets")
    dataset, faults = read_and_check(read_voc, BCCD, class_names=names)
    splits = [image.split for image in dataset.images]
    assert [splits.count(split) for split in ("train", "val", "test")] == [205, 87, 72]
    classes = np.concatenate([image.classes for image in dataset.images])
    assert np.bincount(classes).tolist() == [4155 - 2, 372, 361]
    assert [(mend.file, mend.kind) for mend in faults.mends] == [
        ("Annotations/BloodImage_00338.xml", "no_size"),
        ("Annotations/BloodImage_00343.xml", "no_size"),
    ]


def test_voc_corners_are_edges(tmp_path: Path) -> None:
    """A box from 1 to the image's width leaves one pixel free: the reader does not subtract 1 from corners."""
    voc_folder(tmp_path)
    xml = tmp_path / "Annotations/b.xml"
    xml.write_text(xml.read_text().replace("<xmin>30<", "<xmin>1<"))
    dataset, faults = read_and_check(read_voc, tmp_path)
    image = next(image for image in dataset.images if image.path.stem == "b")
    assert image.boxes_xyxy.tolist() == [[1, 5, 100, 80]]
    assert not faults.mends


def test_voc_filename_finds_an_image_with_another_stem(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "Annotations/a.xml").rename(tmp_path / "Annotations/label-of-a.xml")
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert [len(image.classes) for image in dataset.images] == [len(boxes_of(stem)) for stem in STEMS]
    assert not faults.notes


def test_voc_without_split_lists_is_split_by_seed(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    for path in (tmp_path / "ImageSets/Main").iterdir():
        path.unlink()
    (tmp_path / "ImageSets/Main").rmdir()
    (tmp_path / "ImageSets").rmdir()
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert sorted(image.split or "" for image in dataset.images) == ["test", "train", "train", "train", "train", "val"]
    assert not faults.notes


def test_voc_without_a_test_list_takes_test_from_train(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "ImageSets/Main/test.txt").unlink()
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\ne\nf\n")
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert [image.path.stem for image in dataset.images if image.split == "val"] == ["c", "d"]
    assert [image.split for image in dataset.images].count("test") == 1
    assert [note.what for note in faults.notes] == ["has no test split: taken from train by seed"]


def test_voc_trainval_replaces_a_missing_train_list(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "ImageSets/Main/train.txt").unlink()
    (tmp_path / "ImageSets/Main/trainval.txt").write_text("a\nb\nc\nd\n")
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert [image.path.stem for image in dataset.images if image.split == "train"] == ["a", "b"]
    assert [note.kind for note in faults.notes] == ["split"]


def test_voc_image_in_no_list_is_left_out_with_a_note(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert len(dataset.images) == 5
    assert [(note.file, note.kind) for note in faults.notes] == [("JPEGImages/b.jpg", "left_out")]


def test_voc_flat_folder_with_dots_in_names(tmp_path: Path) -> None:
    for index in range(5):
        write_image(tmp_path / f"a.{index}.jpg")
        (tmp_path / f"a.{index}.xml").write_text(voc_xml("a").replace("a.jpg", f"a.{index}.jpg"))
    dataset, _ = read_and_check(read_voc, tmp_path)
    assert len(dataset.images) == 5
    assert all(len(image.classes) == 2 for image in dataset.images)


def test_voc_image_without_xml_and_without_lists_is_a_background_image_with_a_note(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    shutil.rmtree(tmp_path / "ImageSets")
    (tmp_path / "Annotations/a.xml").unlink()
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert len(dataset.images[0].classes) == 0
    assert [(note.file, note.kind) for note in faults.notes] == [("JPEGImages/a.jpg", "no_label_file")]


def test_coco_crowds_are_left_out_with_a_note(tmp_path: Path) -> None:
    coco_folder(tmp_path)
    path = tmp_path / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    dataset, faults = read_and_check(read_coco, tmp_path)
    image = next(image for image in dataset.images if image.path.stem == "a")
    assert image.classes.tolist() == [1]
    assert [(note.file, note.kind) for note in faults.notes] == [("images/train2017/a.jpg", "crowd")]


@pytest.mark.parametrize("name", ["annotations.json", "annotations/all.json"], ids=["in the root", "in its folder"])
def test_coco_single_file_is_split_by_seed(name: str, tmp_path: Path) -> None:
    for stem in STEMS:
        write_image(tmp_path / f"images/{stem}.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(json.dumps(coco_content(STEMS)))
    dataset, _ = read_and_check(read_coco, tmp_path)
    assert sorted(image.split or "" for image in dataset.images) == ["test", "train", "train", "train", "train", "val"]


def test_coco_layout_of_roboflow(tmp_path: Path) -> None:
    for split, stems in NAMES.items():
        folder = tmp_path / split.replace("val", "valid")
        for stem in stems:
            write_image(folder / f"{stem}.jpg")
        (folder / "_annotations.coco.json").write_text(json.dumps(coco_content(stems)))
    dataset, _ = read_and_check(read_coco, tmp_path)
    assert {image.path.stem: image.split for image in dataset.images} == {s: k for k, v in NAMES.items() for s in v}


def test_coco_file_names_with_folders(tmp_path: Path) -> None:
    content = coco_content(STEMS)
    for entry in content["images"]:
        entry["file_name"] = f"part/{entry['file_name']}"
        write_image(tmp_path / "pictures" / str(entry["file_name"]))
    (tmp_path / "labels.json").write_text(json.dumps(content))
    dataset, _ = read_and_check(read_coco, tmp_path, annotations="labels.json", images="pictures")
    assert len(dataset.images) == 6


def test_yolo_layout_of_roboflow(tmp_path: Path) -> None:
    """The data.yaml of Roboflow contains ../train/images and means train/images."""
    for split, stems in NAMES.items():
        folder = tmp_path / split.replace("val", "valid")
        (folder / "labels").mkdir(parents=True)
        for stem in stems:
            write_image(folder / f"images/{stem}.jpg")
            (folder / f"labels/{stem}.txt").write_text(yolo_label(stem))
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
    (tmp_path / "data.yaml").write_text(text)
    dataset, _ = read_and_check(read_yolo, tmp_path)
    assert {image.path.stem: image.split for image in dataset.images} == {s: k for k, v in NAMES.items() for s in v}


def test_yolo_lists_of_images(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    for split, stems in NAMES.items():
        lines = [f"./images/{split}/{stems[0]}.jpg", str(tmp_path / f"images/{split}/{stems[1]}.jpg")]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines[: 1 if split == "train" else 2]))
    (tmp_path / "data.yaml").write_text(
        "path: .\ntrain: [train.txt]\nval: val.txt\ntest: test.txt\nnames: {0: cat, 1: dog}\n"
    )
    dataset, faults = read_and_check(read_yolo, tmp_path)
    assert sorted(image.path.stem for image in dataset.images) == ["a", "c", "d", "e", "f"]
    assert [(note.file, note.kind) for note in faults.notes] == [("images/train/b.jpg", "left_out")]


def test_yolo_image_without_label_file_is_a_background_image(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    (tmp_path / "labels/train/a.txt").unlink()
    dataset, faults = read_and_check(read_yolo, tmp_path)
    assert len(next(image for image in dataset.images if image.path.stem == "a").classes) == 0
    assert [note.kind for note in faults.notes] == ["no_label_file"]


def test_yolo_only_the_last_images_folder_becomes_labels() -> None:
    assert label_path(Path("images/set/images/train/a.b.jpg")) == Path("images/set/labels/train/a.b.txt")
    assert label_path(Path("photos/a.jpg")) == Path("photos/a.txt")


def test_exif_orientation_is_applied_to_the_size(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    path = tmp_path / "images/train/a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.save(path, exif=exif)
    (tmp_path / "labels/train/a.txt").write_text("0 .5 .5 .5 .5\n")
    dataset, _ = read_and_check(read_yolo, tmp_path)
    image_a = next(image for image in dataset.images if image.path.stem == "a")
    assert image_a.size_wh == (80, 100)
    assert image_a.boxes_xyxy.tolist() == [[20, 25, 60, 75]]


def test_folder_without_images_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    assert "JPEGImages: contains no images" in message_of(read_voc, tmp_path)
