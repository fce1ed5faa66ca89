"""The browser against Python: the demo must find the same boxes as ultralytics with the same files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.serve import MODELS, PROJECT, RUNTIME, server
from src import calibrate, quantize
from src.evaluation.agreement import Detections
from src.evaluation.detections import detect
from src.workflow.stage_files import StageFiles
from tests.quantization.networks import Log
from tests.rectangles import IMGSZ, rectangles, train_on_rectangles
from tests.test_calibrate import PARAMS as CALIBRATE
from tests.test_quantize import PARAMS as QUANTIZE

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
NEEDED = {
    "Chromium": Path(CHROMIUM).exists(),
    "node": shutil.which("node"),
    "`make demo/node_modules`": (PROJECT / RUNTIME).is_dir(),
}
"""The tests in the browser need these. `.ci/run` installs them, and sets BROWSER=required: there nothing is skipped."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose networks find something, made by the stages calibrate and quantize."""
    missing = [name for name, found in NEEDED.items() if not found]
    if missing and os.environ.get("BROWSER") == "required":
        pytest.fail(f"needs {' and '.join(missing)}")
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    root = tmp_path_factory.mktemp("demo")
    (root / "demo").symlink_to(PROJECT / "demo")
    (root / "models").mkdir()
    (root / "reports").mkdir()
    (root / "reports/prune.json").write_text('{"val": {"map50_95": 0.5}}')
    train_on_rectangles(rectangles(root / "data/prepared"), root / "models/pruned.pt")
    calibrate.run(replace(CALIBRATE, images=16, percentile=99.9), StageFiles("calibrate", root, root), Log())
    quantize.run(QUANTIZE, StageFiles("quantize", root, root), Log())
    return root


@pytest.fixture(scope="module")
def url(project: Path) -> Iterator[str]:
    with server(project, 0) as serving:
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


@pytest.mark.slow
def test_the_browser_finds_the_same_boxes_as_python(project: Path, url: str) -> None:
    for image in sorted((project / "data/prepared/images/test").iterdir()):
        browser = found_by_the_browser(url, image)
        for name, file in MODELS.items():
            [python] = detect(project / file, [image], imgsz=IMGSZ, threads=1)
            found = browser[Path(name).stem]
            assert len(python.scores) > 0
            np.testing.assert_array_equal(found.classes, python.classes)
            # WebAssembly rounds differently from AVX: some values differ by a step of the INT8 grid.
            np.testing.assert_allclose(found.scores, python.scores, atol=0.02)
            np.testing.assert_allclose(found.boxes_xyxy, python.boxes_xyxy.clip(0), atol=1.5)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(80, 64), (64, 80)])
def test_an_image_that_is_not_square_keeps_its_boxes(
    project: Path, url: str, width: int, height: int, tmp_path: Path
) -> None:
    square = Image.open(sorted((project / "data/prepared/images/test").iterdir())[0]).convert("RGB")
    longer = Image.new("RGB", (width, height), (114, 114, 114))
    longer.paste(square)
    longer.save(tmp_path / "longer.png")
    browser = found_by_the_browser(url, tmp_path / "longer.png")
    [python] = detect(project / "models/pruned.onnx", [tmp_path / "longer.png"], imgsz=IMGSZ, threads=1)
    sure = python.scores > 0.5  # browsers and OpenCV shrink images differently
    assert sure.any()
    for box, label in zip(python.boxes_xyxy[sure], python.classes[sure], strict=True):
        distances = np.abs(browser["fp32"].boxes_xyxy - box).max(axis=1)
        assert distances[browser["fp32"].classes == label].min() < 4
