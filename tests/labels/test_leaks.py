"""Pictures in two splits: the same bytes, and near duplicates."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.labels.dataset import Dataset, LabelledImage
from src.labels.faults import Faults
from src.labels.leaks import check_leaks
from src.labels.near_duplicates import MOST_BITS, fingerprint_of, nearest
from src.reporting.dataset_pictures import MOST_BYTES, draw_near_duplicates


def scene(seed: int, size_wh: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return a picture like a photograph: large smooth areas, some edges, a little noise."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (6, 8, 3)).astype(np.float32)
    pixels = np.clip(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    for _ in range(12):
        centre = tuple(int(random.integers(side)) for side in size_wh)
        cv2.circle(pixels, centre, int(random.integers(8, 40)), random.uniform(0, 255, 3).tolist(), cv2.FILLED)
    return Image.fromarray(np.clip(pixels + random.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def cropped(image: Image.Image, share: float) -> Image.Image:
    left, top = (round(share / 2 * side) for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded again": lambda image: jpeg(image, 40),
    "half of the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "darker": lambda image: image.point(lambda value: 0.85 * value),
    "brighter": lambda image: image.point(lambda value: min(255, 1.1 * value)),
    "2% cropped": lambda image: cropped(image, 0.02),
}


def of(path: Path, split: str | None) -> LabelledImage:
    return LabelledImage(path, (320, 240), np.zeros((0, 4)), np.zeros(0, np.int64), split)


def dataset(root: Path, images: dict[str, tuple[str | None, Image.Image]]) -> Dataset:
    for name, (_, image) in images.items():
        image.save(root / name)
    return Dataset(("cat",), tuple(of(root / name, split) for name, (split, _) in sorted(images.items())))


def bits_between(one: Image.Image, other: Image.Image) -> int:
    prints = [fingerprint_of(np.asarray(image.convert("RGB"))[..., ::-1].copy()) for image in (one, other)]
    return int(np.bitwise_count(prints[0] ^ prints[1]).sum())


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES.keys())
def test_a_changed_copy_is_a_near_duplicate(change: Callable[[Image.Image], Image.Image]) -> None:
    assert max(bits_between(scene(seed), change(scene(seed))) for seed in range(8)) <= MOST_BITS


def test_different_pictures_are_no_near_duplicates() -> None:
    scenes = [scene(seed) for seed in range(16)]
    assert min(bits_between(one, other) for i, one in enumerate(scenes) for other in scenes[:i]) > MOST_BITS + 10


def test_nearest_agrees_with_counting_bits() -> None:
    random = np.random.default_rng(0)
    some, others = (random.integers(0, 2**64, (count, 4), dtype=np.uint64) for count in (300, 40))
    indices, bits = nearest(some, others)
    for row in (0, 255, 256, 299):
        counted = [sum(int(a ^ b).bit_count() for a, b in zip(some[row], other, strict=True)) for other in others]
        assert (indices[row], bits[row]) == (int(np.argmin(counted)), min(counted))


@pytest.mark.parametrize(("first", "second"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_same_bytes_in_two_splits_are_a_fault(first: str, second: str, tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a.png": (first, scene(0)), "b.png": (first, scene(1)), "c.png": (second, scene(2))})
    shutil.copyfile(tmp_path / "a.png", tmp_path / "again.png")
    faults = Faults(tmp_path)
    leaks = check_leaks(replace(data, images=(*data.images, of(tmp_path / "again.png", second))), faults, strict=False)
    what = f"has the same bytes as a.png: one is in {second}, the other in {first}"
    assert [(fault.file, fault.what) for fault in faults.fatal] == [("again.png", what)]
    assert not leaks  # one line per fault
    assert not faults.notes


def test_same_bytes_within_a_split_are_no_leak(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a.png": ("train", scene(0)), "b.png": ("train", scene(0)), "c.png": ("val", scene(1))})
    faults = Faults(tmp_path)
    assert not check_leaks(data, faults, strict=True)
    assert not faults.fatal


def with_copies(root: Path) -> Dataset:
    return dataset(
        root,
        {
            "a.jpg": ("train", scene(0)),
            "b.jpg": ("train", scene(1)),
            "c.jpg": ("val", COPIES["darker"](scene(0))),
            "d.jpg": ("val", scene(3)),
            "e.jpg": ("test", COPIES["half of the size"](scene(3))),
            "f.jpg": ("test", scene(4)),
            "g.jpg": ("test", COPIES["2% cropped"](scene(4))),  # beside its copy: no leak
        },
    )


def test_near_duplicates_across_splits_are_notes(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    leaks = check_leaks(with_copies(tmp_path), faults, strict=False)
    assert sorted((leak.image.path.name, leak.other.path.name) for leak in leaks) == [
        ("c.jpg", "a.jpg"),
        ("e.jpg", "d.jpg"),
    ]
    assert [leak.bits for leak in leaks] == sorted(leak.bits for leak in leaks)
    assert not faults.fatal
    assert {(note.file, note.kind, note.what.split(" (")[0]) for note in faults.notes} == {
        ("c.jpg", "near_duplicate", "near duplicate across splits: this is in val, a.jpg in train"),
        ("e.jpg", "near_duplicate", "near duplicate across splits: this is in test, d.jpg in val"),
    }


def test_near_duplicates_are_faults_under_strict(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    check_leaks(with_copies(tmp_path), faults, strict=True)
    assert sorted(fault.file for fault in faults.fatal) == ["c.jpg", "e.jpg"]
    assert all("prepare_labels.strict: false" in fault.what_to_do for fault in faults.fatal)


def test_known_fingerprints_are_used(tmp_path: Path) -> None:
    """Reading the labels decodes every image once; the comparison must not do it again."""
    data = dataset(tmp_path, {"a.png": ("train", scene(0)), "b.png": ("val", scene(1))})
    same = np.array([1, 2, 3, 4], dtype=np.uint64)
    data = replace(data, images=tuple(replace(image, fingerprint=same) for image in data.images))
    assert [leak.bits for leak in check_leaks(data, Faults(tmp_path), strict=False)] == [0]


def test_images_without_a_split_are_not_compared(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a.png": (None, scene(0)), "b.png": (None, scene(0))})
    assert not check_leaks(data, Faults(tmp_path), strict=False)


def test_picture_of_near_duplicates_is_small_and_reproducible(tmp_path: Path) -> None:
    leaks = check_leaks(with_copies(tmp_path), Faults(tmp_path), strict=False)
    contents = []
    for name in ("one.png", "two.png"):
        draw_near_duplicates([(leak.image, leak.other) for leak in leaks] * 6, tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert len(contents[0]) < MOST_BYTES
    drawn = np.asarray(Image.open(tmp_path / "one.png").convert("L"), dtype=float)
    halves = drawn[70:200, 6:266], drawn[70:200, 272:532]  # the pair is side by side
    assert np.corrcoef(halves[0].ravel(), halves[1].ravel())[0, 1] > 0.9


def test_picture_of_no_near_duplicates(tmp_path: Path) -> None:
    draw_near_duplicates([], tmp_path / "none.png")
    assert Image.open(tmp_path / "none.png").size[0] > 0
