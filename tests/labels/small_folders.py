"""Small labelled folders in each format, with the same six images: two per split, the first of them with a cat."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from src.foundation.errors import UserError
from src.labels.coco import read_coco
from src.labels.dataset import Dataset
from src.labels.faults import Faults
from src.labels.splitting import complete_splits
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo

WIDTH, HEIGHT = 100, 80
NAMES = {"train": ("a", "b"), "val": ("c", "d"), "test": ("e", "f")}
STEMS = tuple(stem for stems in NAMES.values() for stem in stems)
CLASSES = ("cat", "dog")
CAT, DOG = (10, 20, 50, 60), (30, 5, 100, 80)  # left, top, right, bottom, px

Build = Callable[[Path], None]
Read = Callable[..., Dataset]


def write_image(path: Path, size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Write an image of noise, seeded by its file name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(path.name.encode()))
    Image.fromarray(random.integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)).save(path)


def boxes_of(stem: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Return the boxes of an image: a, c and e have a cat and a dog, b and d a dog, f has no box."""
    return {"f": [], "b": [("dog", DOG)], "d": [("dog", DOG)]}.get(stem, [("cat", CAT), ("dog", DOG)])


def voc_xml(stem: str) -> str:
    """Return the annotation of an image."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>\n"
        for name, box in boxes_of(stem)
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><filename>{stem}.jpg</filename>{size}\n{objects}</annotation>\n"


def voc_folder(root: Path) -> None:
    """Write the images in Pascal VOC format, with split lists."""
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for stem in STEMS:
        write_image(root / f"JPEGImages/{stem}.jpg")
        (root / f"Annotations/{stem}.xml").write_text(voc_xml(stem))
    for split, stems in NAMES.items():
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def coco_content(stems: tuple[str, ...]) -> dict[str, list[dict[str, object]]]:
    """Return the COCO JSON for some of the images. The category ids have gaps and are not sorted."""
    ids = {"dog": 7, "cat": 3}
    annotations = [
        {"id": f"{stem}{index}", "image_id": STEMS.index(stem), "category_id": ids[name], "iscrowd": 0}
        | {"bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
        for stem in stems
        for index, (name, box) in enumerate(boxes_of(stem))
    ]
    return {
        "images": [
            {"id": STEMS.index(stem), "file_name": f"{stem}.jpg", "width": WIDTH, "height": HEIGHT} for stem in stems
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


def coco_folder(root: Path) -> None:
    """Write the images in COCO format, with a JSON file per split."""
    (root / "annotations").mkdir(parents=True)
    for split, stems in NAMES.items():
        for stem in stems:
            write_image(root / f"images/{split}2017/{stem}.jpg")
        (root / f"annotations/instances_{split}2017.json").write_text(json.dumps(coco_content(stems)))


def yolo_label(stem: str) -> str:
    """Return the label file of an image."""
    return "".join(
        f"{CLASSES.index(name)} {(box[0] + box[2]) / 2 / WIDTH} {(box[1] + box[3]) / 2 / HEIGHT} "
        f"{(box[2] - box[0]) / WIDTH} {(box[3] - box[1]) / HEIGHT}\n"
        for name, box in boxes_of(stem)
    )


def yolo_folder(root: Path) -> None:
    """Write the images in YOLO format, with a folder per split."""
    for split, stems in NAMES.items():
        (root / f"labels/{split}").mkdir(parents=True)
        for stem in stems:
            write_image(root / f"images/{split}/{stem}.jpg")
            (root / f"labels/{split}/{stem}.txt").write_text(yolo_label(stem))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\ntest: images/test\nnames: [cat, dog]\n")


FORMATS: dict[str, tuple[Build, Read]] = {
    "voc": (voc_folder, read_voc),
    "coco": (coco_folder, read_coco),
    "yolo": (yolo_folder, read_yolo),
}


def read_and_check(read: Read, root: Path, *, strict: bool = False, **names: object) -> tuple[Dataset, Faults]:
    """Read a folder and complete its splits, as the stage does; raise if there are faults."""
    faults = Faults(root)
    dataset = read(root, faults, **names)
    dataset = complete_splits(dataset, faults, val_fraction=0.2, test_fraction=0.2, seed=0)
    faults.end_if_fatal(strict=strict)
    return dataset, faults


def message_of(read: Read, root: Path, **names: object) -> str:
    """Return the message of the UserError that reading the folder raises; empty if there is none."""
    try:
        read_and_check(read, root, **names)
    except UserError as error:
        return str(error)
    return ""
