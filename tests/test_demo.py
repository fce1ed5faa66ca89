"""The browser against Python: the demo must find the same boxes as ultralytics with the same files."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.serve import MODELS, PROJECT, RUNTIME, describe, server
from src.evaluation.agreement import Detections
from src.evaluation.detections import detect

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
TEST_IMAGES = PROJECT / "data/prepared/images/test"


@pytest.mark.parametrize("missing", [*MODELS.values(), RUNTIME])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    for name in MODELS.values():
        if name != missing:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=f"error: {missing} is not there"):
        server(tmp_path, 0)


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[int]:
    """The port of a server of a project in miniature."""
    for name in (*MODELS.values(), f"{RUNTIME}/ort.mjs", "demo/page/index.html", "demo/page/pictures/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with server(tmp_path, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_port
        serving.shutdown()


def status_of(port: int, path: str, host: str | None = None, method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host.replace("PORT", str(port))})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:PORT", 200),
        ("localhost:PORT", 200),
        ("evil.example:PORT", 403),
        ("evil.example", 403),
        ("127.0.0.1:1", 403),
        ("127.0.0.1:PORT.evil.example", 403),
        ("", 403),
    ],
)
def test_only_requests_to_this_machine_are_answered(small_server: int, host: str, status: int, method: str) -> None:
    for path in ("/", "/models/int8.onnx", "/runtime/ort.mjs"):
        assert status_of(small_server, path, host, method) == status, path


@pytest.mark.parametrize("path", ["/pictures/", "/runtime/", "/runtime/../", "/models/"])
def test_no_folder_is_listed(small_server: int, path: str) -> None:
    assert status_of(small_server, "/pictures/a.png") == 200
    assert status_of(small_server, path) == 404


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if not (Path(CHROMIUM).exists() and shutil.which("node") and (PROJECT / RUNTIME).is_dir()):
        pytest.skip("needs Chromium, node and `npm ci` in demo/")
    if not (PROJECT / "models/int8.onnx").exists():
        pytest.skip("needs the pipeline's models: run `dvc repro` or `dvc pull`")
    with server(PROJECT, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def found_by_the_browser(url: str, image: Path) -> dict[str, Detections]:
    command = ["node", str(PROJECT / "demo/check.mjs"), url, str(image)]
    environment = {**os.environ, "CHROMIUM": CHROMIUM}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return {
        name: Detections(
            boxes_xyxy=np.array([box["xyxy"] for box in found["boxes"]]),
            scores=np.array([box["score"] for box in found["boxes"]]),
            classes=np.array([box["label"] for box in found["boxes"]]),
        )
        for name, found in json.loads(done.stdout).items()
    }


def test_the_browser_finds_the_same_boxes_as_python(url: str) -> None:
    image = sorted(TEST_IMAGES.iterdir())[0]
    browser = found_by_the_browser(url, image)
    imgsz = describe(PROJECT / "models/int8.onnx")["imgsz"]
    for name, file in (("fp32", "models/pruned.onnx"), ("int8", "models/int8.onnx")):
        [python] = detect(PROJECT / file, [image], imgsz=imgsz, threads=1)
        assert len(python.scores) > 0
        np.testing.assert_array_equal(browser[name].classes, python.classes)
        # WebAssembly rounds differently from AVX: some values differ by a step of the INT8 grid.
        np.testing.assert_allclose(browser[name].scores, python.scores, atol=0.02)
        np.testing.assert_allclose(browser[name].boxes_xyxy, python.boxes_xyxy.clip(0), atol=1.5)


def test_an_image_that_is_not_square_keeps_its_boxes(url: str, tmp_path: Path) -> None:
    square = Image.open(sorted(TEST_IMAGES.iterdir())[0]).convert("RGB")
    wide = Image.new("RGB", (2 * square.width, square.height), (114, 114, 114))
    wide.paste(square)
    wide.save(tmp_path / "wide.png")
    browser = found_by_the_browser(url, tmp_path / "wide.png")
    imgsz = describe(PROJECT / "models/int8.onnx")["imgsz"]
    [python] = detect(PROJECT / "models/pruned.onnx", [tmp_path / "wide.png"], imgsz=imgsz, threads=1)
    sure = python.scores > 0.5  # browsers and OpenCV shrink images differently
    for box, label in zip(python.boxes_xyxy[sure], python.classes[sure], strict=True):
        distances = np.abs(browser["fp32"].boxes_xyxy - box).max(axis=1)
        assert distances[browser["fp32"].classes == label].min() < 4
