from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from ultralytics.utils.patches import imread

from src.deployment.images import choose_images, load_image, read_image
from src.detector.dataset import view_of
from src.foundation.errors import UserError
from tests.quantization.networks import IMGSZ, random_images


def test_images_agree_with_ultralytics_validation(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        paths = random_images(tmp_path / "images" / split, 6)
        (tmp_path / "labels" / split).mkdir(parents=True)
    for path in paths:
        (tmp_path / "labels" / "test" / f"{path.stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("names: {0: thing}\n")

    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    with view_of(tmp_path) as data_yaml:
        data = check_det_dataset(data_yaml)
        config = get_cfg(overrides={"imgsz": IMGSZ, "task": "detect"})
        dataset = build_yolo_dataset(config, data["test"], 1, data, mode="val", rect=False)
        expected = {Path(item["im_file"]).name: item["img"].numpy() for item in dataset}
    for path in paths:
        assert np.array_equal(load_image(path, IMGSZ)[0], expected[path.name].astype(np.float32) / np.float32(255))


def test_a_choice_is_repeatable_sorted_and_without_repetition(tmp_path: Path) -> None:
    paths = random_images(tmp_path, 20)
    (tmp_path / "notes.txt").touch()
    chosen = choose_images(tmp_path, 8, seed=3)
    assert chosen == choose_images(tmp_path, 8, seed=3) == sorted(set(chosen))
    assert chosen != choose_images(tmp_path, 8, seed=4)
    assert choose_images(tmp_path, 1000, seed=0) == sorted(paths)


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected images .* found none"):
        choose_images(tmp_path, 1, seed=0)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "empty.png").touch()
    for name in ("broken.png", "empty.png", "missing.png"):
        with pytest.raises(UserError, match=rf"{name}: expected an image"):
            load_image(tmp_path / name, IMGSZ)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(suffix, np.uint8) for suffix in (".png", ".tif", ".jpg", ".webp", ".bmp")]
    + [(suffix, np.uint16) for suffix in (".png", ".tif")],
)
def test_images_are_read_as_training_reads_them(suffix: str, dtype: type, channels: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, np.iinfo(dtype).max, (20, 30, channels), dtype=dtype)
    path = tmp_path / f"image{suffix}"
    assert cv2.imwrite(str(path), pixels)
    found = read_image(path)
    assert found.shape == (20, 30, 3)
    np.testing.assert_array_equal(found, imread(path))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_images_are_turned_as_their_exif_tag_says(suffix: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / f"turned{suffix}", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / f"turned{suffix}"), imread(tmp_path / f"turned{suffix}"))
