"""The C++ program against Python: both must find the same boxes, in OpenVINO, with the same file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from src import PROJECT
from src.deployment.onnx_detector import OnnxDetector
from tests.test_height_and_width import BOXES, one_box
from tests.test_predict import small_detector

pytestmark = pytest.mark.slow

TOOLS = ("cmake", "c++")


@pytest.fixture(scope="module")
def detect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built."""
    openvino = pytest.importorskip("openvino")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    build = tmp_path_factory.mktemp("cpp")
    configure = ["cmake", "-S", PROJECT / "demo/cpp", "-B", build, f"-DOpenVINO_DIR={openvino.__path__[0]}/cmake"]
    for command in (configure, ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning:" not in done.stderr
    return build / "detect"


def call(detect: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([detect, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["yolov8n", "yolov8n of one class"])
def test_it_finds_the_boxes_of_python(detect: Path, networks: dict[str, Path], kind: str, tmp_path: Path) -> None:
    score, iou = 0.0, 0.5
    python = OnnxDetector(networks[kind], "openvino", threads=1, cache=tmp_path)
    photograph = load_sample_images().images[0]
    for width, height in ((640, 427), (128, 96), (64, 64), (33, 50), (50, 33), (7, 300)):
        image = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / "image.ppm"), image)
        done = call(detect, networks[kind], tmp_path / "image.ppm", score, iou)
        assert (done.returncode, done.stderr) == (0, "")
        found = np.array([line.split() for line in done.stdout.splitlines()], dtype=float).reshape(-1, 6)
        expected, _ = python.detect(image.astype(np.uint8), score, iou)
        corners = expected.boxes_xyxy
        sizes = corners[:, 2:] - corners[:, :2]
        assert len(found) > 0
        np.testing.assert_allclose(
            found, np.column_stack([expected.classes, expected.scores, corners[:, :2], sizes]), atol=1e-3
        )


@pytest.mark.parametrize(("image_wh", "inside_xywh", "in_image_xyxy"), BOXES)
def test_an_input_that_is_not_square(
    detect: Path, image_wh: tuple[int, int], inside_xywh: list[float], in_image_xyxy: list[float], tmp_path: Path
) -> None:
    network = one_box(tmp_path / "network.onnx", inside_xywh)
    cv2.imwrite(str(tmp_path / "image.ppm"), np.full((*image_wh[::-1], 3), 255, dtype=np.uint8))
    left, top, right, bottom = in_image_xyxy
    expected = " ".join(f"{value:.4f}" for value in (left, top, right - left, bottom - top))
    assert call(detect, network, tmp_path / "image.ppm").stdout == f"0 0.900000 {expected}\n"


def test_boxes_without_area_are_left_out(detect: Path, tmp_path: Path) -> None:
    boxes = [([24.0, 32.0, width, height], [1.0, 0.0]) for width, height in ((-16.0, 16.0), (16.0, 0.0), (16.0, 16.0))]
    network = small_detector(tmp_path / "network.onnx", *boxes)
    cv2.imwrite(str(tmp_path / "image.ppm"), np.full((64, 64, 3), 255, dtype=np.uint8))
    assert call(detect, network, tmp_path / "image.ppm").stdout == "0 1.000000 16.0000 24.0000 16.0000 16.0000\n"


PIXELS = b"P6 2 1 255\n" + bytes(6)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "expected P6 at its start"),
        (b"P3 2 1 255\n0 0 0 0 0 0", "expected P6 at its start"),
        (b"P6 two 1 255\n", "expected a number in the header"),
        (b"P6 0 1 255\n", "expected sides from 1 to 65535 px"),
        (b"P6 2 1 65535\n" + bytes(12), "expected 8 bits per value"),
        (PIXELS[:-1], "its pixels end early"),
    ],
)
def test_a_file_that_is_no_image_is_named_in_a_line(detect: Path, content: bytes, fault: str, tmp_path: Path) -> None:
    (tmp_path / "image.ppm").write_bytes(content)
    done = call(detect, "network.onnx", tmp_path / "image.ppm")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/image.ppm: not a binary PPM: {fault}\n"


def test_other_faults_are_a_line_each(detect: Path, tmp_path: Path) -> None:
    (tmp_path / "image.ppm").write_bytes(PIXELS.replace(b" 1 ", b" # a comment\n1 "))
    for arguments, fault in {
        (tmp_path / "missing.onnx", tmp_path / "image.ppm"): "missing.onnx",
        ("network.onnx", tmp_path / "missing.ppm"): "missing.ppm: cannot be opened",
        ("network.onnx", tmp_path / "image.ppm", "high"): "expected a number, got high",
    }.items():
        done = call(detect, *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert fault in done.stderr
        assert done.stderr.count("\n") == 1
    assert call(detect).returncode == 2
