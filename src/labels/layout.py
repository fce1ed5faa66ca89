"""Write the layout that ultralytics reads: {images,labels}/{train,val,test} and data.yaml; and a manifest.

Training images whose labels were set aside go to images/unlabelled.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from src.foundation.digests import MANIFEST, MANIFEST_COLUMNS
from src.foundation.prepared import SPLITS, UNLABELLED
from src.foundation.processors import usable_processors
from src.labels.dataset import Dataset, LabelledImage
from src.labels.decoding import training_suffix

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class _Row:
    split: str
    image: str
    image_md5: str
    label_md5: str
    boxes: int


def write_yolo(dataset: Dataset, folder: Path) -> None:
    """Write the dataset into `folder`. The same dataset gives the same bytes.

    Images in `folder` are moved. All other images are linked, or copied if the file system has no symbolic links; a
    JPEG that does not end with the end marker is copied and gets one. Stems are kept; if several images have the same
    stem, the second one by path becomes stem-2, and so on. A suffix that training does not look for, such as .jfif,
    becomes the usual one of the image's format. data.yaml contains no absolute path. manifest.csv lists
    every file with its md5.

    Args:
        dataset: every image has a split.
        folder: an existing folder.
    """
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
    if any(image.split == UNLABELLED for image in dataset.images):
        (folder / "images" / UNLABELLED).mkdir()
    images = sorted(dataset.images, key=lambda image: image.path.as_posix())
    stems = _unique_stems(image.path.stem for image in images)
    with ThreadPoolExecutor(usable_processors()) as pool:  # reading and hashing release the GIL
        written = pool.map(lambda image, stem: _write(image, stem, folder), images, stems)
        rows = list(tqdm(written, desc="writing labels", total=len(images), unit="image", mininterval=1))
    content = {**{split: f"images/{split}" for split in SPLITS}, "names": dict(enumerate(dataset.class_names))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    _write_manifest(rows, text, folder)


def label_lines(image: LabelledImage) -> str:
    """Return the text of a label file: class x_center y_center width height, as fractions of the image's sides."""
    rows = zip(image.classes, to_fractions(image.boxes_xyxy, image.size_wh), strict=True)
    # Ten decimals: reading the file back gives the box to a millionth of a pixel.
    return "".join(f"{index} " + " ".join(f"{value:.10f}" for value in box) + "\n" for index, box in rows)


def to_fractions(boxes_xyxy: NDArray[np.float64], size_wh: tuple[int, int]) -> NDArray[np.float64]:
    """Convert boxes (N, 4) from left, top, right, bottom in px to x_center, y_center, width, height in [0, 1].

    >>> to_fractions(np.array([[10.0, 20, 50, 60]]), (100, 80)).tolist()
    [[0.3, 0.5, 0.4, 0.5]]
    """
    left_top, sides = boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    fractions: NDArray[np.float64] = np.concatenate([left_top + sides / 2, sides], axis=1) / np.tile(size_wh, 2)
    return fractions


def _unique_stems(stems: Iterable[str]) -> list[str]:
    stems = list(stems)
    taken = set(stems)
    seen: set[str] = set()
    unique = []
    for stem in stems:
        name, number = stem, 1
        while name in seen or (number > 1 and name in taken):
            number += 1
            name = f"{stem}-{number}"
        seen.add(name)
        unique.append(name)
    return unique


def _write(image: LabelledImage, stem: str, folder: Path) -> _Row:
    assert image.split is not None, "the dataset is not split"
    target = folder / "images" / image.split / (stem + training_suffix(image.path))
    content = image.path.read_bytes()
    if image.path.is_relative_to(folder):
        image.path.rename(target)
    elif content.startswith(JPEG_START) and not content.endswith(JPEG_END):
        # ultralytics treats bytes after the end marker as damage and re-encodes the image during training.
        # One more end marker prevents that and changes no pixel.
        content += JPEG_END
        target.write_bytes(content)
    else:
        _link(image.path, target)
    return _Row(
        split=image.split,
        image=target.relative_to(folder).as_posix(),
        image_md5=hashlib.md5(content).hexdigest(),
        label_md5="" if image.split == UNLABELLED else _write_label(image, folder / "labels" / image.split / stem),
        boxes=len(image.classes),
    )


def _write_label(image: LabelledImage, stem: Path) -> str:
    """Write the label file of an image, and return its md5."""
    lines = label_lines(image)
    stem.with_name(f"{stem.name}.txt").write_text(lines, encoding="utf-8")
    return hashlib.md5(lines.encode()).hexdigest()


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(os.path.realpath(source))
    except OSError:  # file systems without links, and Windows without the permission to create them
        shutil.copyfile(source, target)


def _write_manifest(rows: list[_Row], data_yaml: str, folder: Path) -> None:
    """Write a line per image, sorted, and one for data.yaml: the manifest's md5 identifies the whole folder."""
    with (folder / MANIFEST).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(MANIFEST_COLUMNS)
        for row in sorted(rows, key=lambda row: ((*SPLITS, UNLABELLED).index(row.split), row.image)):
            writer.writerow([row.split, row.image, row.image_md5, row.label_md5, row.boxes])
        writer.writerow(["", "data.yaml", hashlib.md5(data_yaml.encode()).hexdigest(), "", ""])
