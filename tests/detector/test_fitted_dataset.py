from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ultralytics.cfg import get_cfg
from ultralytics.data import build_yolo_dataset
from ultralytics.data.augment import Mosaic, RandomPerspective
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset
from ultralytics.utils.ops import xywh2xyxy

from src.deployment.images import load_image
from src.detector.dataset import view_of
from src.detector.fitted_dataset import FittedDataset, fit
from src.foundation.image_size import ImageSize, height_width
from tests.quantization.networks import random_images

SIZES = [(96, 160), (160, 96), (160, 160)]
STILL = dict.fromkeys(("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr", "mosaic"), 0.0)
WHITE = 255


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Random images of several shapes in `test`; in `train` black ones, each with a white rectangle and its label."""
    for split in ("train", "val", "test"):
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "images" / split).mkdir(parents=True)
    for path in random_images(tmp_path / "images/test", 6):
        (tmp_path / "labels/test" / f"{path.stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    for number, (width, height) in enumerate([(200, 100), (100, 200), (120, 120), (320, 200)] * 2):
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[height // 4 : height // 2, width // 2 : 3 * width // 4] = WHITE
        cv2.imwrite(str(tmp_path / f"images/train/{number}.png"), pixels)
        (tmp_path / f"labels/train/{number}.txt").write_text("0 0.625 0.375 0.25 0.25\n")
    (tmp_path / "data.yaml").write_text("names: {0: thing}\n")
    return tmp_path


def dataset(prepared: Path, split: str, imgsz: ImageSize, **augmentation: float) -> YOLODataset:
    with view_of(prepared) as data_yaml:
        data = check_det_dataset(data_yaml)
        config: Any = get_cfg(overrides={**augmentation, "imgsz": max(height_width(imgsz)), "task": "detect"})
        mode = "train" if split == "train" else "val"
        built = build_yolo_dataset(config, data[split], 4, data, mode=mode, rect=False)
        for index, path in enumerate(built.im_files):  # the view is removed; its links led here
            built.im_files[index] = str(prepared / "images" / split / Path(path).name)
        return built


@pytest.mark.parametrize("size", SIZES)
def test_validation_sees_the_pixels_of_every_other_reader(size: tuple[int, int], prepared: Path) -> None:
    for item in fit(dataset(prepared, "test", size), size):
        expected = load_image(prepared / "images/test" / Path(item["im_file"]).name, size)[0]
        np.testing.assert_array_equal(item["img"].numpy().astype(np.float32) / np.float32(255), expected)


def assert_labels_are_on_the_rectangles(item: dict[str, Any], size: tuple[int, int]) -> None:
    height, width = size
    assert item["img"].shape == (3, height, width)
    white = item["img"].numpy().min(axis=0) > WHITE / 2
    labelled = np.zeros_like(white)
    for box in xywh2xyxy(item["bboxes"].numpy()) * (width, height, width, height):
        left, top, right, bottom = np.rint(box).astype(int)
        labelled[top:bottom, left:right] = True
    assert (white & labelled).sum() > 0.85 * (white | labelled).sum()


@pytest.mark.parametrize("size", SIZES)
def test_labels_stay_on_their_objects_without_augmentation(size: tuple[int, int], prepared: Path) -> None:
    for item in fit(dataset(prepared, "train", size, **STILL), size):
        assert len(item["bboxes"]) == 1
        assert_labels_are_on_the_rectangles(item, size)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_labels_stay_on_their_objects_with_it(size: tuple[int, int], closed: bool, prepared: Path) -> None:
    random.seed(0)
    moving = {**STILL, "translate": 0.1, "scale": 0.2, "fliplr": 0.5, "mosaic": 1.0}
    fitted = fit(dataset(prepared, "train", size, **moving), size)
    if closed:
        fitted.close_mosaic(get_cfg(overrides=moving))
    labels = 0
    for _ in range(3):
        for item in fitted:
            assert_labels_are_on_the_rectangles(item, size)
            labels += len(item["bboxes"])
    assert labels == 24 if closed else labels > 40


@pytest.mark.parametrize("size", SIZES)
def test_the_images_of_a_mosaic_meet_where_it_is_seen(size: tuple[int, int], prepared: Path) -> None:
    random.seed(0)
    height, width = size
    fitted = fit(dataset(prepared, "train", size, **STILL), size)
    mosaic, affine = fitted.transforms.transforms[0].transforms[0::2]
    assert isinstance(mosaic, Mosaic)
    assert isinstance(affine, RandomPerspective)
    centre = max(size)
    points = []
    for _ in range(200):
        labels = fitted.get_image_and_label(0)
        labels["mix_labels"] = [fitted.get_image_and_label(index) for index in (1, 2, 3)]
        first = mosaic.get_params(labels)["layout"][0]
        points.append((first["y2a"] - centre, first["x2a"] - centre))
    reach = np.abs(points).max(axis=0)
    assert (reach <= (height / 2, width / 2)).all()
    assert (reach > (0.4 * height, 0.4 * width)).all(), "the whole middle is used"


def test_a_square_trains_on_the_images_of_ultralytics(prepared: Path) -> None:
    items = []
    for change in (lambda built: built, lambda built: fit(built, 64)):
        random.seed(0)
        np.random.seed(0)
        items.append(list(change(dataset(prepared, "train", 64, mosaic=0.5, mixup=0.3))))
    assert all((plain["img"] == fitted["img"]).all() for plain, fitted in zip(*items, strict=True))
    assert isinstance(fit(dataset(prepared, "train", 64), 64), FittedDataset)
