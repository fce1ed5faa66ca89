"""A fault is told once: neither its consequences nor its repetition in every line of a list follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.labels.coco import read_coco
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo
from tests.labels.small_folders import NAMES, coco_folder, message_of, voc_folder, yolo_folder

LOST = "/home/me/data/images"


def lines_of(message: str) -> list[str]:
    return [line.strip() for line in message.splitlines()[1:]]


@pytest.mark.parametrize("split", NAMES)
def test_a_broken_coco_file_leaves_no_split_empty(split: str, tmp_path: Path) -> None:
    coco_folder(tmp_path)
    (tmp_path / f"annotations/instances_{split}2017.json").write_text("{")
    [line] = lines_of(message_of(read_coco, tmp_path))
    assert line.startswith(f"annotations/instances_{split}2017.json: broken JSON")


def test_a_coco_file_of_an_unknown_split_leaves_no_split_empty(tmp_path: Path) -> None:
    coco_folder(tmp_path)
    (tmp_path / "annotations/instances_train2017.json").rename(tmp_path / "annotations/instances_first.json")
    [line] = lines_of(message_of(read_coco, tmp_path))
    assert "an annotation file without one split in its name" in line


def test_coco_images_that_are_not_there_leave_no_split_empty(tmp_path: Path) -> None:
    coco_folder(tmp_path)
    for name in NAMES["train"]:
        (found,) = tmp_path.glob(f"images/**/{name}.*")
        found.unlink()
    lines = lines_of(message_of(read_coco, tmp_path))
    assert len(lines) == len(NAMES["train"])
    assert all("label without image" in line for line in lines)


def test_a_split_that_nothing_names_is_still_empty_beside_another_fault(tmp_path: Path) -> None:
    coco_folder(tmp_path)
    (tmp_path / "annotations/instances_train2017.json").unlink()
    val = tmp_path / "annotations/instances_val2017.json"
    val.write_text(val.read_text().replace('"category_id": ', '"category_id": 9', 1))
    assert "annotations/instances_val2017.json: " in message_of(read_coco, tmp_path)
    assert "empty split: train gets none of 4 images" in message_of(read_coco, tmp_path)


def test_a_voc_list_that_cannot_be_read_leaves_no_split_empty(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfe\xff")
    lines = lines_of(message_of(read_voc, tmp_path))
    assert not [line for line in lines if "empty split" in line]
    assert [line for line in lines if line.startswith("ImageSets/Main/train.txt: ")]


def test_a_voc_list_of_images_that_are_not_there_leaves_no_split_empty(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "ImageSets/Main/train.txt").write_text("x\n")
    lines = lines_of(message_of(read_voc, tmp_path))
    assert not [line for line in lines if "empty split" in line]
    assert [line for line in lines if line.startswith("ImageSets/Main/train.txt: line 1: there is no image 'x'")]


def yolo_with_list(root: Path, paths: list[str]) -> None:
    yolo_folder(root)
    (root / "train.txt").write_text("".join(f"{path}\n" for path in paths))
    data = root / "data.yaml"
    data.write_text(data.read_text().replace("train: images/train", "train: train.txt"))
    assert "train.txt" in data.read_text()


def test_absolute_paths_of_another_place_are_one_fault(tmp_path: Path) -> None:
    yolo_with_list(tmp_path, [f"{LOST}/{number}.jpg" for number in range(2000)])
    found = [line for line in lines_of(message_of(read_yolo, tmp_path)) if line.startswith("train.txt")]
    assert found == [
        "train.txt: 2000 of 2000 lines name no file within data.root. The first: "
        f"'{LOST}/0.jpg' leads outside of data.root; '{LOST}/1.jpg' leads outside of data.root; "
        f"'{LOST}/2.jpg' leads outside of data.root: write a path within data.root"
    ]
    assert "empty split" not in message_of(read_yolo, tmp_path)


def test_a_few_paths_of_another_place_have_a_line_each(tmp_path: Path) -> None:
    images = [f"images/train/{name}.jpg" for name in NAMES["train"]]
    yolo_with_list(tmp_path, [*images, *(f"{LOST}/{number}.jpg" for number in range(3))])
    assert lines_of(message_of(read_yolo, tmp_path)) == [
        f"train.txt: '{LOST}/{number}.jpg' leads outside of data.root: write a path within data.root"
        for number in range(3)
    ]
