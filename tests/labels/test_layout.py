from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from src.labels.dataset import Dataset, LabelledImage
from src.labels.layout import label_lines, to_fractions, write_yolo
from src.labels.summary import summarize
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo
from src.reporting.dataset_pictures import MOST_BYTES, draw_box_sizes, draw_samples
from tests.labels.small_folders import read_and_check, voc_folder, write_image


def labelled(path: Path, split: str, boxes: list[list[float]], size_wh: tuple[int, int] = (100, 80)) -> LabelledImage:
    classes = np.arange(len(boxes)) % 2
    return LabelledImage(path, size_wh, np.array(boxes, dtype=np.float64).reshape(-1, 4), classes, split)


def voc_dataset(root: Path) -> Dataset:
    voc_folder(root)
    return read_and_check(read_voc, root)[0]


def test_fractions_of_a_box() -> None:
    np.testing.assert_array_equal(to_fractions(np.array([[10.0, 20, 50, 60]]), (100, 80)), [[0.3, 0.5, 0.4, 0.5]])


def test_label_lines_of_two_boxes() -> None:
    text = label_lines(labelled(Path("a.jpg"), "train", [[10, 20, 50, 60], [0, 0, 100, 80]]))
    assert text == (
        "0 0.3000000000 0.5000000000 0.4000000000 0.5000000000\n1 0.5000000000 0.5000000000 1.0000000000 1.0000000000\n"
    )


def test_round_trip_of_boxes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    size_wh = (997, 613)
    corners = np.sort(random.random((200, 2, 2)), axis=1) * size_wh
    boxes = corners.reshape(-1, 4)
    splits = {"train": boxes[:100], "val": boxes[100:150], "test": boxes[150:]}
    images = []
    for split, part in splits.items():
        write_image(tmp_path / f"raw/{split}.png", size_wh)
        images.append(labelled(tmp_path / f"raw/{split}.png", split, part.tolist(), size_wh))
    (tmp_path / "out").mkdir()
    write_yolo(Dataset(("even", "odd"), tuple(images)), tmp_path / "out")
    back, _ = read_and_check(read_yolo, tmp_path, strict=True, data_yaml="out/data.yaml")
    assert back.class_names == ("even", "odd")
    for image in back.images:
        np.testing.assert_allclose(image.boxes_xyxy, splits[image.split or ""], atol=1e-6)
        np.testing.assert_array_equal(image.classes, np.arange(len(image.classes)) % 2)


def test_written_files(tmp_path: Path) -> None:
    dataset = voc_dataset(tmp_path / "raw")
    out = tmp_path / "out"
    out.mkdir()
    write_yolo(dataset, out)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    expected = [
        f"{kind}/{split}/{stem}.{suffix}"
        for kind, suffix in (("images", "jpg"), ("labels", "txt"))
        for split, stems in (("test", "ef"), ("train", "ab"), ("val", "cd"))
        for stem in stems
    ]
    assert files == sorted([*expected, "data.yaml", "manifest.csv"])
    assert yaml.safe_load((out / "data.yaml").read_text()) == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": {0: "cat", 1: "dog"},
    }
    assert str(tmp_path) not in (out / "data.yaml").read_text()
    assert os.readlink(out / "images/train/a.jpg") == str((tmp_path / "raw/JPEGImages/a.jpg").resolve())
    assert (out / "labels/test/f.txt").read_text() == ""
    rows = list(csv.DictReader((out / "manifest.csv").open()))
    assert [(row["split"], row["image"], row["boxes"]) for row in rows[:2]] == [
        ("train", "images/train/a.jpg", "2"),
        ("train", "images/train/b.jpg", "1"),
    ]
    assert rows[-1]["image"] == "data.yaml"


def test_output_is_reproducible(tmp_path: Path) -> None:
    dataset = voc_dataset(tmp_path / "raw")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_yolo(dataset, tmp_path / name)
        draw_samples(dataset, tmp_path / name / "samples.png")
        draw_box_sizes(dataset, tmp_path / name / "box_sizes.png")
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


@pytest.mark.parametrize("part", ["image", "label", "class"])
def test_manifest_changes_with_images_labels_and_class_names(part: str, tmp_path: Path) -> None:
    dataset = voc_dataset(tmp_path / "raw")
    manifests = []
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        write_yolo(dataset, tmp_path / name)
        manifests.append((tmp_path / name / "manifest.csv").read_text())
        if part == "image":
            write_image(tmp_path / "raw/JPEGImages/a.jpg", (100, 81))
        elif part == "label":
            dataset.images[0].boxes_xyxy[0, 0] += 1
        else:
            dataset = Dataset(("wolf", "dog"), dataset.images)
    assert manifests[0] != manifests[1]


def test_images_are_copied_if_links_are_not_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("no links here")

    dataset = voc_dataset(tmp_path / "raw")
    monkeypatch.setattr(Path, "symlink_to", no_links)
    (tmp_path / "out").mkdir()
    write_yolo(dataset, tmp_path / "out")
    copied = tmp_path / "out/images/train/a.jpg"
    assert not copied.is_symlink()
    assert copied.read_bytes() == (tmp_path / "raw/JPEGImages/a.jpg").read_bytes()


def test_images_in_the_folder_are_moved(tmp_path: Path) -> None:
    write_image(tmp_path / "scene.png")
    write_yolo(Dataset(("a", "b"), (labelled(tmp_path / "scene.png", "train", []),)), tmp_path)
    assert not (tmp_path / "scene.png").exists()
    assert (tmp_path / "images/train/scene.png").is_file()


def test_images_with_the_same_stem_get_unique_names(tmp_path: Path) -> None:
    names = ("one/a.png", "two/a.jpg", "two/a-2.jpg", "three/b.jpg")
    for name in names:
        write_image(tmp_path / "raw" / name)
    images = tuple(labelled(tmp_path / "raw" / name, "train", [[0, 0, 9, 9]]) for name in names)
    (tmp_path / "out").mkdir()
    write_yolo(Dataset(("a", "b"), images), tmp_path / "out")
    written = sorted((tmp_path / "out/images/train").iterdir())
    assert [path.name for path in written] == ["a-2.jpg", "a-3.jpg", "a.png", "b.jpg"]
    assert written[0].resolve() == tmp_path / "raw/two/a-2.jpg"


def test_jpeg_with_bytes_after_its_end_marker_is_copied_with_another_marker(tmp_path: Path) -> None:
    """Otherwise ultralytics replaces the link by a re-encoded image, which changes the prepared folder."""
    write_image(tmp_path / "raw/a.jpg")
    with (tmp_path / "raw/a.jpg").open("ab") as stream:
        stream.write(b"\0\0\0\0")
    (tmp_path / "out").mkdir()
    write_yolo(Dataset(("a", "b"), (labelled(tmp_path / "raw/a.jpg", "train", []),)), tmp_path / "out")
    written = tmp_path / "out/images/train/a.jpg"
    assert written.read_bytes() == (tmp_path / "raw/a.jpg").read_bytes() + b"\xff\xd9"
    with Image.open(written) as one, Image.open(tmp_path / "raw/a.jpg") as other:
        assert one.tobytes() == other.tobytes()


def test_summary_of_four_images(tmp_path: Path) -> None:
    images = (
        labelled(Path("a"), "train", [[0, 0, 10, 8], [0, 0, 50, 40], [50, 40, 60, 48]]),
        labelled(Path("b"), "train", []),
        labelled(Path("c"), "val", [[0, 0, 100, 80]]),
        labelled(Path("d"), "test", []),
    )
    summary = summarize(Dataset(("cat", "dog"), images))
    assert summary["images"] == {"train": 2, "val": 1, "test": 1}
    assert summary["boxes"] == {"train": 3, "val": 1, "test": 0}
    assert summary["backgrounds"] == {"train": 1, "val": 0, "test": 1}
    assert summary["classes"]["cat"] == {
        "images": {"train": 1, "val": 1, "test": 0},
        "boxes": {"train": 2, "val": 1, "test": 0},
    }
    sizes = summary["box_sizes"]
    assert (sizes["small"], sizes["medium"], sizes["large"]) == (2, 2, 0)  # 80, 80, 2000 and 8000 px
    assert sizes["side_pct"]["p50"] == 30  # of 10, 10, 50 and 100%


def test_samples_picture_of_noise_stays_small(tmp_path: Path) -> None:
    """Noise is the worst case for PNG."""
    images = []
    for index in range(9):
        write_image(tmp_path / f"{index}.png", (300, 300))
        images.append(labelled(tmp_path / f"{index}.png", "train", [[10, 10, 90, 90]], (300, 300)))
    draw_samples(Dataset(("cat", "dog"), tuple(images)), tmp_path / "samples.png")
    assert (tmp_path / "samples.png").stat().st_size < MOST_BYTES


def test_pictures_of_an_empty_dataset(tmp_path: Path) -> None:
    draw_samples(Dataset(("cat",), ()), tmp_path / "samples.png")
    draw_box_sizes(Dataset(("cat",), ()), tmp_path / "box_sizes.png")
    assert (tmp_path / "samples.png").is_file()
