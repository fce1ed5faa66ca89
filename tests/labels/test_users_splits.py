"""A split that the user made is kept, or refused by name: in all forms, and in the layouts of labelling tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from src.labels.coco import read_coco
from src.labels.dataset import Dataset
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo
from tests.labels.small_folders import (
    CLASSES,
    NAMES,
    STEMS,
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

LISTS = "ImageSets/Main"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def splits_of(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {
        split: tuple(image.path.stem for image in dataset.images if image.split == split) for split in ("train", *NAMES)
    }


def rename_lists(root: Path, names: dict[str, str]) -> None:
    for old, new in names.items():
        (root / f"{LISTS}/{old}.txt").rename(root / f"{LISTS}/{new}.txt")


def voc_lists_named(train: str, val: str, test: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        voc_folder(root)
        rename_lists(root, {"train": train, "val": val, "test": test})

    return build


def voc_lists_in_the_root(root: Path) -> None:
    voc_folder(root)
    for split, stems in NAMES.items():
        write(root / f"{split}.txt", "".join(f"JPEGImages/{stem}.jpg\n" for stem in stems))
    shutil.rmtree(root / "ImageSets")


def voc_lists_of_classes(root: Path) -> None:
    """As VoTT writes them: a list per class and split, with a flag, and none per split alone."""
    voc_folder(root)
    for split, stems in NAMES.items():
        (root / f"{LISTS}/{split}.txt").unlink()
        for name in CLASSES:
            flags = {stem: 1 if name in dict(boxes_of(stem)) else -1 for stem in stems}
            write(root / f"{LISTS}/{name}_{split}.txt", "".join(f"{stem}.jpg {flag}\n" for stem, flag in flags.items()))


def voc_challenge(root: Path) -> None:
    """As the challenge has it: also trainval, lists per class (one class is `train`), other tasks, and masks."""
    voc_folder(root)
    write(root / f"{LISTS}/trainval.txt", "a\nb\nc\nd\n")
    write(root / f"{LISTS}/train_val.txt", "c -1\nd  1\n")
    write(root / f"{LISTS}/train_train.txt", "a -1\nb  1\n")
    write(root / "ImageSets/Layout/val.txt", "c\n")
    write_image(root / "SegmentationClass/a.png")


def voc_folder_per_split(folders: dict[str, str], images: str = "", annotations: str = "") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for split, stems in NAMES.items():
            for stem in stems:
                write_image(root / folders[split] / images / f"{stem}.jpg")
                write(root / folders[split] / annotations / f"{stem}.xml", voc_xml(stem))

    return build


def voc_flat_annotations(root: Path) -> None:
    for split, stems in NAMES.items():
        for stem in stems:
            write_image(root / f"images/{split}/{stem}.jpg")
            write(root / f"annotations/{stem}.xml", voc_xml(stem))


def coco_files(json_of: Callable[[str], str], folder_of: Callable[[str], str]) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for split, stems in NAMES.items():
            for stem in stems:
                write_image(root / folder_of(split) / f"{stem}.jpg")
            write(root / json_of(split), json.dumps(coco_content(stems)))

    return build


def coco_one_file(root: Path) -> None:
    content = coco_content(STEMS)
    split_of = {stem: split for split, stems in NAMES.items() for stem in stems}
    for entry in content["images"]:
        stem = Path(str(entry["file_name"])).stem
        entry["file_name"] = f"{split_of[stem]}/{stem}.jpg"
        write_image(root / f"images/{entry['file_name']}")
    write(root / "annotations.json", json.dumps(content))


def yolo_keys(train: str, val: str, test: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        yolo_folder(root)
        write(root / "data.yaml", f"{train}: images/train\n{val}: images/val\n{test}: images/test\nnames: [cat, dog]\n")

    return build


def yolo_of_cvat(root: Path) -> None:
    """CVAT's YOLO 1.1: Darknet's obj.data, with paths below data/, which is not in the archive."""
    lines = ["classes = 2", "names = data/obj.names", "backup = backup/"]
    for split, stems in NAMES.items():
        name = {"val": "valid"}.get(split, split)
        for stem in stems:
            write_image(root / f"obj_{name}_data/{stem}.jpg")
            write(root / f"obj_{name}_data/{stem}.txt", yolo_label(stem))
        write(root / f"{name}.txt", "".join(f"data/obj_{name}_data/{stem}.jpg\n" for stem in stems))
        lines.append(f"{name} = data/{name}.txt")
    write(root / "obj.data", "\n".join(lines))
    write(root / "obj.names", "cat\ndog\n")


def yolo_classes_txt(root: Path) -> None:
    yolo_folder(root)
    (root / "data.yaml").unlink()
    write(root / "classes.txt", "cat\ndog\n")


CVAT = {"train": "Train", "val": "Validation", "test": "Test"}
ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}
KEPT: dict[str, tuple[Callable[[Path], None], Read]] = {
    "voc: valid": (voc_lists_named("train", "valid", "test"), read_voc),
    "voc: CVAT": (voc_lists_named("Train", "Validation", "Test"), read_voc),
    "voc: other forms": (voc_lists_named("TRAINING", "dev2012", "testing_list"), read_voc),
    "voc: lists in the root": (voc_lists_in_the_root, read_voc),
    "voc: lists of classes": (voc_lists_of_classes, read_voc),
    "voc: the challenge": (voc_challenge, read_voc),
    "voc: Roboflow": (voc_folder_per_split(ROBOFLOW), read_voc),
    "voc: images/train": (voc_folder_per_split({k: f"images/{k}" for k in NAMES}), read_voc),
    "voc: folders in a folder per split": (voc_folder_per_split(CVAT, "JPEGImages", "Annotations"), read_voc),
    "voc: labels and images in a folder per split": (voc_folder_per_split(CVAT, "images", "labels"), read_voc),
    "voc: all XML files in one folder": (voc_flat_annotations, read_voc),
    "coco: CVAT": (
        coco_files(lambda s: f"annotations/instances_{CVAT[s]}.json", lambda s: f"images/{CVAT[s]}"),
        read_coco,
    ),
    "coco: CVAT, images together": (
        coco_files(lambda s: f"annotations/instances_{CVAT[s]}.json", lambda s: "images"),
        read_coco,
    ),
    "coco: other forms": (
        coco_files(
            lambda s: f"Annotations/cells_{ {'train': 'training', 'val': 'dev', 'test': 'TESTING'}[s] }.json",
            lambda s: f"{ROBOFLOW[s]}/images",
        ),
        read_coco,
    ),
    "coco: Roboflow with other folders": (
        coco_files(lambda s: f"{CVAT[s]}/_annotations.coco.json", lambda s: CVAT[s]),
        read_coco,
    ),
    "coco: files in the root": (coco_files(lambda s: f"{ROBOFLOW[s]}.json", lambda s: f"images/{s}"), read_coco),
    "coco: one file, folders per split": (coco_one_file, read_coco),
    "yolo: validation": (yolo_keys("train", "validation", "test"), read_yolo),
    "yolo: other forms": (yolo_keys("Training", "Dev", "TESTING"), read_yolo),
    "yolo: CVAT": (yolo_of_cvat, read_yolo),
    "yolo: classes.txt, folders per split": (yolo_classes_txt, read_yolo),
}


@pytest.mark.parametrize(("build", "read"), KEPT.values(), ids=KEPT.keys())
def test_split_is_kept(build: Callable[[Path], None], read: Read, tmp_path: Path) -> None:
    build(tmp_path)
    dataset, faults = read_and_check(read, tmp_path)
    assert splits_of(dataset) == NAMES
    assert [len(image.classes) for image in dataset.images] == [
        len(boxes_of(image.path.stem)) for image in dataset.images
    ]
    assert not faults.mends
    assert all(note.kind == "split" for note in faults.notes)


def lose_a_list(root: Path) -> None:
    voc_folder(root)
    rename_lists(root, {"test": "holdout"})


def two_lists(root: Path) -> None:
    voc_folder(root)
    write(root / f"{LISTS}/valid.txt", "c\n")


def list_of_another_suffix(root: Path) -> None:
    voc_folder(root)
    (root / f"{LISTS}/test.txt").rename(root / f"{LISTS}/test.csv")


def folder_beside_splits(root: Path) -> None:
    voc_folder_per_split({**ROBOFLOW, "test": "holdout"})(root)


def unnamed_json(root: Path) -> None:
    coco_folder(root)
    (root / "annotations/instances_test2017.json").rename(root / "annotations/instances_default.json")


def roboflow_with_another_folder(root: Path) -> None:
    coco_files(lambda s: f"{s}/_annotations.coco.json".replace("test", "part"), lambda s: s.replace("test", "part"))(
        root
    )


def two_jsons(root: Path) -> None:
    coco_folder(root)
    write(root / "annotations/instances_validation.json", json.dumps(coco_content(("c",))))


def unread_folder(root: Path) -> None:
    yolo_folder(root)
    write(root / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]\n")


def split_within_a_split(root: Path) -> None:
    yolo_folder(root)
    write(root / "data.yaml", "train: images\nnames: [cat, dog]\n")


REFUSED: dict[str, tuple[Callable[[Path], None], Read, str]] = {
    "voc: a list that is not understood": (lose_a_list, read_voc, f"{LISTS}/holdout.txt: looks like a split list"),
    "voc: two lists of val": (two_lists, read_voc, f"{LISTS}/valid.txt: a second list of val"),
    "voc: a list that is no text": (list_of_another_suffix, read_voc, f"{LISTS}/test.csv: looks like a list of test"),
    "voc: a folder beside splits": (folder_beside_splits, read_voc, "holdout: 2 images in a folder that is not named"),
    "coco: a file that is not understood": (unnamed_json, read_coco, "instances_default.json: an annotation file with"),
    "coco: two files of val": (two_jsons, read_coco, "a second annotation file for val"),
    "coco: a folder that is not understood": (
        roboflow_with_another_folder,
        read_coco,
        "part/_annotations.coco.json: an annotation file in a folder that is not named after a split",
    ),
    "yolo: a key that is not understood": (
        yolo_keys("train", "val", "holdout"),
        read_yolo,
        "data.yaml: the key 'holdout' looks like a split",
    ),
    "yolo: two keys": (yolo_keys("train", "val", "valid"), read_yolo, "two keys for val: 'val' and 'valid'"),
    "yolo: a folder that no key names": (unread_folder, read_yolo, "images/test: 2 images with labels, in a folder"),
    "yolo: a split within a split": (split_within_a_split, read_yolo, "images/val: a folder of another split within"),
}


@pytest.mark.parametrize(("build", "read", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_looks_like_a_split_and_is_not_understood_is_refused(
    build: Callable[[Path], None], read: Read, expected: str, tmp_path: Path
) -> None:
    build(tmp_path)
    assert expected in message_of(read, tmp_path)


def test_voc_list_of_all_images_is_no_split(tmp_path: Path) -> None:
    """CVAT writes default.txt where the project has no subsets."""
    voc_folder(tmp_path)
    shutil.rmtree(tmp_path / LISTS)
    write(tmp_path / f"{LISTS}/default.txt", "".join(f"{stem}\n" for stem in STEMS))
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert len(dataset.images) == 6
    assert {note.kind for note in faults.notes} == {"left_out", "split"}


def test_yolo_of_label_studio_is_split_by_seed(tmp_path: Path) -> None:
    for stem in STEMS:
        write_image(tmp_path / f"images/{stem}.jpg")
        write(tmp_path / f"labels/{stem}.txt", yolo_label(stem))
    write(tmp_path / "classes.txt", "cat\ndog\n")
    write(tmp_path / "notes.json", "{}")
    dataset, _ = read_and_check(read_yolo, tmp_path)
    assert sorted(image.split or "" for image in dataset.images) == ["test", "train", "train", "train", "train", "val"]
    assert sum(len(image.classes) for image in dataset.images) == 8


def test_coco_of_cvat_without_subsets(tmp_path: Path) -> None:
    for stem in STEMS:
        write_image(tmp_path / f"images/default/{stem}.jpg")
    write(tmp_path / "annotations/instances_default.json", json.dumps(coco_content(STEMS)))
    dataset, _ = read_and_check(read_coco, tmp_path)
    assert len(dataset.images) == 6


def test_voc_folders_named_labels_and_images(tmp_path: Path) -> None:
    for stem in STEMS:
        write_image(tmp_path / f"images/{stem}.jpg")
        write(tmp_path / f"labels/{stem}.xml", voc_xml(stem))
    dataset, faults = read_and_check(read_voc, tmp_path)
    assert sum(len(image.classes) for image in dataset.images) == 8
    assert not faults.notes


def test_voc_images_of_one_name_in_two_splits(tmp_path: Path) -> None:
    for split in NAMES:
        write_image(tmp_path / f"{split}/images/{split}.jpg")
        (tmp_path / f"{split}/images/{split}.jpg").rename(tmp_path / f"{split}/images/a.jpg")
        write(tmp_path / f"{split}/labels/a.xml", voc_xml("a"))
    dataset, _ = read_and_check(read_voc, tmp_path)
    assert [len(image.classes) for image in dataset.images] == [2, 2, 2]


def test_coco_of_label_studio_is_found(tmp_path: Path) -> None:
    for stem in STEMS:
        write_image(tmp_path / f"images/{stem}.jpg")
    write(tmp_path / "result.json", json.dumps(coco_content(STEMS)))
    dataset, _ = read_and_check(read_coco, tmp_path)
    assert len(dataset.images) == 6


def test_yolo_split_that_roboflow_names_and_does_not_have(tmp_path: Path) -> None:
    for split, stems in {"train": ("a", "b", "e", "f"), "valid": ("c", "d")}.items():
        for stem in stems:
            write_image(tmp_path / f"{split}/images/{stem}.jpg")
            write(tmp_path / f"{split}/labels/{stem}.txt", yolo_label(stem))
    write(
        tmp_path / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat, dog]\n",
    )
    _, faults = read_and_check(read_yolo, tmp_path)
    assert [note.what for note in faults.notes] == [
        "test: the folder '../test/images' of test is not there: as if the key were not there",
        "has no test split: taken from train by seed",
    ]


def test_yolo_path_of_another_machine(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    path = tmp_path / "data.yaml"
    path.write_text("path: /content/datasets/pets\n" + path.read_text())
    dataset, faults = read_and_check(read_yolo, tmp_path)
    assert splits_of(dataset) == NAMES
    assert "path: '/content/datasets/pets' is not in data.root" in faults.notes[0].what


def test_unlabelled_folder_of_a_split_is_left_out_with_a_note(tmp_path: Path) -> None:
    coco_folder(tmp_path)
    write_image(tmp_path / "images/test_dev/z.jpg")
    _, faults = read_and_check(read_coco, tmp_path)
    assert [(note.file, note.kind) for note in faults.notes] == [("images/test_dev/z.jpg", "left_out")]
