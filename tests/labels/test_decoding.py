"""Images as training reads them: accepted and the same for every later stage, or refused with the reason."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ultralytics.data.utils import check_image

from src.deployment.images import load_image
from src.foundation.prepared import images_of
from src.labels import decoding
from src.labels.decoding import Decoded, decode, read_rgb
from src.labels.layout import write_yolo
from src.labels.voc import read_voc
from src.labels.yolo import read_yolo
from tests.labels.small_folders import message_of, read_and_check, voc_folder, yolo_folder

ORIENTATION = 0x0112


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """Return a picture without any symmetry: red grows to the right, green to the bottom."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, np.full_like(across, 90)], axis=2).astype(np.uint8))


def turned_by(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_turned_images_are_upright_for_every_reader(suffix: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    picture().save(path, exif=turned_by(orientation), **({"lossless": True} if suffix == "webp" else {}))
    upright = Image.Image.transpose(picture(), {2: 0, 3: 3, 6: 4, 8: 2}[orientation])  # as Pillow's Transpose
    decoded = decode(path)
    assert isinstance(decoded, Decoded)
    assert decoded.size_wh == upright.size
    np.testing.assert_allclose(read_rgb(path), np.asarray(upright), atol=12 if suffix == "jpg" else 0)
    assert check_image(str(path))[1] == upright.size[::-1]  # ultralytics, before it trains
    loaded = load_image(path, max(upright.size))[0].transpose(1, 2, 0)  # calibration and ONNX: upright and padded
    left, top = (max(upright.size) - side for side in upright.size)
    inner = loaded[top // 2 : top // 2 + upright.height, left // 2 : left // 2 + upright.width]
    np.testing.assert_array_equal(np.round(inner * 255), read_rgb(path))


def test_large_jpeg_is_decoded_reduced_and_keeps_its_size(tmp_path: Path) -> None:
    picture(1101, 1030).save(tmp_path / "a.jpg", exif=turned_by(6))
    decoded = decode(tmp_path / "a.jpg")
    assert isinstance(decoded, Decoded)
    assert decoded.size_wh == (1030, 1101)


def grey(values: type[np.generic], scale: float) -> Image.Image:
    return Image.fromarray((np.asarray(picture().convert("L")) * scale).astype(values))


REFUSED = {
    "float TIFF": (
        lambda path: grey(np.float32, 1 / 255).save(path),
        ".tif",
        "OpenCV, which reads images for training",
    ),
    "32-bit TIFF": (lambda path: grey(np.int32, 1).save(path), ".tif", "TIFF of float or 32-bit values"),
    "pages": (lambda path: picture().save(path, save_all=True, append_images=[picture()]), ".tif", "several pages"),
    "frames of WebP": (
        lambda path: picture().save(path, save_all=True, append_images=[picture().rotate(90)]),
        ".webp",
        "several pages or frames",
    ),
    "frames of PNG": (
        lambda path: picture().save(path, save_all=True, append_images=[picture().rotate(90)]),
        ".png",
        "several pages or frames",
    ),
    "one pixel wide": (lambda path: picture(1, 40).save(path), ".png", "1x40 px, smaller than the minimum of 10 px"),
    "TIFF named .jpg": (lambda path: picture().save(path, format="TIFF"), ".jpg", "rename it to .tif"),
    "GIF named .png": (lambda path: picture().save(path, format="GIF"), ".png", "not a readable image"),
}


@pytest.mark.parametrize(("write", "suffix", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_image_that_training_cannot_read_is_refused(write, suffix: str, reason: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # a table of lambdas
    path = tmp_path / f"a{suffix}"
    write(path)
    decoded = decode(path)
    assert isinstance(decoded, str)
    assert reason in decoded
    assert "\n" not in decoded


def test_smaller_copies_within_a_tiff_are_no_pages(tmp_path: Path) -> None:
    """A cloud-optimized GeoTIFF contains previews; training reads the first page."""
    picture().save(tmp_path / "a.tif", save_all=True, append_images=[picture(30, 20), picture(15, 10)])
    assert isinstance(decode(tmp_path / "a.tif"), Decoded)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), np.asarray(picture()))


def test_photograph_with_a_preview_behind_it(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[picture(30, 20)])
    assert isinstance(decode(tmp_path / "a.jpg"), Decoded)


def claim_size(path: Path, width: int, height: int) -> None:
    """Change the size in the header of a PNG: a file of a few bytes that decodes to gigabytes."""
    content = path.read_bytes()
    chunk = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    path.write_bytes(content[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:])


@pytest.mark.parametrize("side", [10_000, 14_000, 60_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(side: int, tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    claim_size(tmp_path / "a.png", side, side)
    decoded = decode(tmp_path / "a.png")
    assert decoded == f"{side * side:,} pixels, more than the limit of 89,478,485 pixels (cut it into tiles)"


def test_too_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_BYTES", 2**20)
    picture().save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("ab") as stream:
        stream.truncate(3 * 2**20)
    assert decode(tmp_path / "a.png") == "3 MiB, more than the limit of 1 MiB"


def test_threads_wait_while_others_decode_large_images() -> None:
    budget = decoding._Budget(100)
    entered = threading.Event()

    def second() -> None:
        with budget.take(50):
            entered.set()

    thread = threading.Thread(target=second)
    with budget.take(60):
        thread.start()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set()
    with budget.take(500):  # alone, any image passes
        pass


def as_16_bits(root: Path, scale: int, stems: str = "abcdef") -> None:
    for path in sorted((root / "images").rglob("*.jpg")):
        if path.stem in stems:
            values = np.asarray(Image.open(path).convert("L"), dtype=np.uint16) * scale
            Image.fromarray(values).save(path.with_suffix(".tif"))
            path.unlink()


@pytest.mark.parametrize(("bits", "brightest"), [(12, 15), (14, 63)])
def test_12_and_14_bits_in_16_are_refused(bits: int, brightest: int, tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    as_16_bits(tmp_path, 2 ** (bits - 8))
    message = message_of(read_yolo, tmp_path)
    assert f"its brightest value is {brightest} of 255, nearly black: scale the values" in message
    assert message.count("nearly black") == 6


def test_16_bits_are_read_and_one_dim_image_among_them(tmp_path: Path) -> None:
    yolo_folder(tmp_path)
    as_16_bits(tmp_path, 256, "bcdef")
    as_16_bits(tmp_path, 64, "a")
    dataset, _ = read_and_check(read_yolo, tmp_path)
    brightest = {image.path.stem: read_rgb(image.path).max() for image in dataset.images}
    assert 50 < brightest["a"] < 64 < brightest["b"]


@pytest.mark.parametrize("suffix", [".jfif", ".JFIF", ".jpe", ""])
def test_suffix_that_training_passes_over(suffix: str, tmp_path: Path) -> None:
    """ultralytics looks for images by their suffix: under .jfif a whole split may be missing, hours later."""
    voc_folder(tmp_path / "raw")
    for path in (tmp_path / "raw/JPEGImages").iterdir():
        path.rename(path.with_suffix(suffix))
    (tmp_path / "raw/JPEGImages/README").write_text("about these images")
    dataset, _ = read_and_check(read_voc, tmp_path / "raw")
    (tmp_path / "out").mkdir()
    write_yolo(dataset, tmp_path / "out")
    assert [path.name for path in images_of(tmp_path / "out", "train")] == ["a.jpg", "b.jpg"]


def test_image_of_a_format_that_is_not_read(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    (tmp_path / "JPEGImages/a.jpg").rename(tmp_path / "JPEGImages/a.heic")
    assert "JPEGImages/a.heic: an image of a format that is not read (.heic): save it as JPEG" in message_of(
        read_voc, tmp_path
    )


def test_modes_of_images_that_are_read(tmp_path: Path) -> None:
    for mode, suffix in [("CMYK", "jpg"), ("L", "jpg"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("CMYK", "tif")]:
        path = tmp_path / f"{mode}.{suffix}"
        picture().convert(mode).save(path)
        assert isinstance(decode(path), Decoded), path.name
        assert read_rgb(path).shape == (40, 60, 3)
