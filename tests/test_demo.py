"""The demo in a headless Chromium: it finds the boxes that Python finds with the same files, and does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image

from demo.serve import FP32, INT8, PROJECT, RUNTIME, server
from src import calibrate, quantize
from src.deployment.detections import Detections
from src.evaluation.agreement import LEAST_IOU, compare
from src.evaluation.detections import LEAST_SCORE, detect
from src.workflow.stage_files import StageFiles
from tests.quantization.networks import Log
from tests.rectangles import COLOURS, IMGSZ, rectangles, train_on_rectangles
from tests.test_calibrate import PARAMS as CALIBRATE
from tests.test_quantize import PARAMS as QUANTIZE

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
NEEDED = {
    "Chromium": Path(CHROMIUM).exists(),
    "node": shutil.which("node"),
    "`make demo/node_modules`": (PROJECT / RUNTIME).is_dir(),
}
"""The tests in the browser need these. `.ci/run` installs them, and sets BROWSER=required: there nothing is skipped."""

pytestmark = pytest.mark.slow


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
def images(project: Path) -> list[Path]:
    return sorted((project / "data/prepared/images/test").iterdir())


@pytest.fixture(scope="module")
def url(project: Path) -> Iterator[str]:
    with server(project, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def shown(url: str, scenario: str, argument: object = "") -> dict[str, Any]:
    """What the page shows at the end of a scenario of demo/check.mjs, which throws no exception and logs no error."""
    command = ["node", str(PROJECT / "demo/check.mjs"), url, scenario, str(argument)]
    environment = {**os.environ, "CHROMIUM": CHROMIUM}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    page: dict[str, Any] = json.loads(done.stdout)
    assert page.pop("errors") == []
    return page


def detections(page: dict[str, Any], network: str) -> Detections:
    """The boxes that the page lists for a network."""
    rows = [row for row in page["boxes"] if row[0] == network]
    return Detections(
        boxes_xyxy=np.array([[float(value) for value in row[3].split(", ")] for row in rows]).reshape(-1, 4),
        scores=np.array([float(row[2]) for row in rows]),
        classes=np.array([list(COLOURS).index(row[1]) for row in rows]),
    )


def assert_same(found: Detections, python: Detections) -> None:
    assert len(python.scores) > 0
    np.testing.assert_array_equal(found.classes, python.classes)
    # WebAssembly rounds differently from AVX: some values differ by a step of the INT8 grid.
    np.testing.assert_allclose(found.scores, python.scores, atol=0.02)
    np.testing.assert_allclose(found.boxes_xyxy, python.boxes_xyxy, atol=1.5)


def test_the_browser_finds_the_same_boxes_as_python(project: Path, url: str, images: list[Path]) -> None:
    for image in images:
        page = shown(url, "compared", image)
        for network, file in {"INT8": INT8, "FP32": FP32}.items():
            [python] = detect(project / file, [image], imgsz=IMGSZ, threads=1)
            assert_same(detections(page, network), python)


def test_boxes_end_at_the_edges_of_the_image(url: str) -> None:
    page = shown(url, "clipped")
    assert page["first"]["xyxy"] == [0, 0, 15, 27.5]
    assert page["second"]["xyxy"] == [87.5, 10, 100, 20]


def test_an_input_that_is_not_square_gives_boxes_in_px_of_the_image(url: str) -> None:
    page = shown(url, "fitted")
    assert page["values"] == 3 * 96 * 160
    assert page["geometry"] == {"scale": 0.8, "left": 0, "top": 8, "sides": [200, 100]}
    assert page["xyxy"] == pytest.approx([50, 25, 100, 75])


@pytest.mark.parametrize(("width", "height"), [(80, 64), (64, 80)])
def test_an_image_that_is_not_square_keeps_its_boxes(
    project: Path, url: str, images: list[Path], width: int, height: int, tmp_path: Path
) -> None:
    longer = Image.new("RGB", (width, height), (114, 114, 114))
    longer.paste(Image.open(images[0]).convert("RGB"))
    longer.save(tmp_path / "longer.png")
    found = detections(shown(url, "compared", tmp_path / "longer.png"), "FP32")
    [python] = detect(project / FP32, [tmp_path / "longer.png"], imgsz=IMGSZ, threads=1)
    sure = python.scores > 0.5  # browsers and OpenCV shrink images differently
    assert sure.any()
    for box, label in zip(python.boxes_xyxy[sure], python.classes[sure], strict=True):
        distances = np.abs(found.boxes_xyxy - box).max(axis=1)
        assert distances[found.classes == label].min() < 4


def test_the_page_begins_with_a_test_image(project: Path, url: str, images: list[Path]) -> None:
    page = shown(url, "sample")
    [python] = detect(project / INT8, [images[0]], imgsz=IMGSZ, threads=1)
    assert_same(detections(page, "INT8"), python)
    assert page["status"] == f"Test image 1 of 4: INT8 finds {len(python.scores)} objects."
    assert page["numbers"].keys() == {"preprocessing", "network", "reading"}
    assert all(re.fullmatch(r"(< )?\d+\.\d ms", text) for text in page["numbers"].values())


def test_screen_readers_and_keyboards_reach_every_control(url: str) -> None:
    page = shown(url, "sample")
    names = ["Next test image", "Image", "Video", "Camera", "Stop", "Compare with FP32", "Score at least"]
    assert not [name for name in names if not re.search(rf'(button|switch|slider) "{name}"', page["tree"])]
    assert "status: " in page["tree"]
    assert 'img "The image with ' in page["tree"]
    assert page["order"] == ["sample", "image", "video", "camera", "compare", "threshold", "summary", "list"]


def test_the_next_test_image(project: Path, url: str, images: list[Path]) -> None:
    [python] = detect(project / INT8, [images[1]], imgsz=IMGSZ, threads=1)
    assert_same(detections(shown(url, "nextSample"), "INT8"), python)


def test_without_test_images_the_visitor_is_asked(project: Path, tmp_path: Path) -> None:
    for name in ("demo", "models"):
        (tmp_path / name).symlink_to(project / name)
    with server(tmp_path, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        page = shown(f"http://127.0.0.1:{serving.server_port}", "noSample")
        serving.shutdown()
    assert page["status"] == "Choose an image or a video, or open the camera."


def test_without_fp32_there_is_no_comparison(project: Path, tmp_path: Path) -> None:
    for name in ("demo", "data", INT8):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(project / name)
    with server(tmp_path, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        page = shown(f"http://127.0.0.1:{serving.server_port}", "noFp32")
        serving.shutdown()
    assert page["compareDisabled"]
    assert page["boxes"]


def test_the_first_threshold_is_that_of_the_report() -> None:
    assert f'value="{LEAST_SCORE}"' in (PROJECT / "demo/page/index.html").read_text()


def test_a_higher_threshold_hides_boxes(url: str) -> None:
    page = shown(url, "threshold")
    assert len(page["before"]) > len(page["after"])
    assert page["redrawn"]


def test_files_that_cannot_be_read_are_refused_in_a_line(url: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("neither image nor video")
    assert shown(url, "unreadable", tmp_path / "notes.txt") == {
        "image": "notes.txt: this browser cannot read it: choose a JPEG, PNG or WebP image",
        "video": "notes.txt: this browser cannot play it: choose an MP4 (H.264) or WebM video",
    }


def film(image: Path, path: Path) -> None:
    """Write a second of the image. VP8 in WebM is what both OpenCV writes and every Chromium plays."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 15, (IMGSZ, IMGSZ))
    assert writer.isOpened()
    for _ in range(15):
        writer.write(cv2.imread(str(image)))
    writer.release()


def test_a_video_is_detected_on_until_it_ends(project: Path, url: str, images: list[Path], tmp_path: Path) -> None:
    film(images[0], tmp_path / "still.webm")
    page = shown(url, "video", tmp_path / "still.webm")
    assert re.fullmatch(r"still.webm: ended after \d+ frames?.", page["status"])
    assert page["stopDisabled"]
    found = detections(page, "INT8")
    [python] = detect(project / INT8, [images[0]], imgsz=IMGSZ, threads=1)
    sure = python.scores > 0.7  # VP8 changes pixels
    assert sure.any()
    assert not set(np.flatnonzero(sure)) & compare(python, found, LEAST_IOU).alone[0]


def test_a_video_may_end_while_a_frame_is_in_work(url: str, images: list[Path], tmp_path: Path) -> None:
    film(images[0], tmp_path / "short.webm")
    page = shown(url, "slowVideo", tmp_path / "short.webm")
    assert re.fullmatch(r"short.webm: ended after \d+ frames?.", page["status"])


def test_the_camera_gives_frames_until_it_is_stopped(url: str) -> None:
    page = shown(url, "camera")
    assert page["live"]["status"] == "Camera: detecting. Stop ends it."
    assert page["live"]["numbers"].keys() == {"rate", "preprocessing", "network", "reading"}
    assert not page["live"]["stopDisabled"]
    assert re.fullmatch(r"Camera: stopped after \d+ frames.", page["stopped"]["status"])
    assert page["stopped"]["stopDisabled"]
    assert page["states"] == ["ended"]
    assert page["still"]


def test_frames_do_not_wait_for_slow_networks(url: str) -> None:
    page = shown(url, "slowCamera")
    assert page == {"status": "Camera: stopped after 4 frames.", "taken": 5}  # the fifth is thrown away


def test_a_camera_that_gives_no_frames_can_be_stopped(url: str) -> None:
    assert shown(url, "silentCamera") == {"status": "Camera: stopped after 0 frames."}
    assert shown(url, "stalledCamera") == {"status": "Camera: stopped after 1 frame."}


def test_an_image_takes_the_place_of_the_camera(project: Path, url: str, images: list[Path]) -> None:
    page = shown(url, "imageDuringCamera", images[0])
    assert page["states"] == ["ended"]
    assert page["status"].startswith(f"{images[0].name}: INT8 finds")
    [python] = detect(project / INT8, [images[0]], imgsz=IMGSZ, threads=1)
    assert_same(detections(page, "INT8"), python)


@pytest.mark.parametrize(
    ("scenario", "status"),
    [
        ("lostCamera", "Camera: it was lost: connect it and press Camera again"),
        ("lostBusyCamera", "Camera: it was lost: connect it and press Camera again"),
        ("refusedCamera", "Camera: it was refused: allow the camera for this page in the browser's settings"),
        ("noCamera", "Camera: there is none: connect one"),
    ],
)
def test_a_camera_that_is_lost_refused_or_absent_is_told_in_a_line(url: str, scenario: str, status: str) -> None:
    page = shown(url, scenario)
    assert page["status"] == status
    assert page["stopDisabled"]


@pytest.fixture(scope="module")
def disagreeing(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a demo whose FP32 network finds nothing of the first class."""
    root = tmp_path_factory.mktemp("disagreeing")
    for name in ("demo", "data", INT8):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(project / name)
    network = onnx.load(project / FP32)
    found = network.graph.output[0].name
    for node in network.graph.node:
        node.output[:] = ["all" if name == found else name for name in node.output]
    kept = np.array([1] * 4 + [0] + [1] * (len(COLOURS) - 1), dtype=np.float32).reshape(1, -1, 1)
    network.graph.initializer.append(onnx.numpy_helper.from_array(kept, "kept"))
    network.graph.node.append(onnx.helper.make_node("Mul", ["all", "kept"], [found]))
    onnx.save(network, root / FP32)
    with server(root, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.fixture(scope="module")
def of_both_classes(project: Path, images: list[Path]) -> Path:
    found = detect(project / INT8, images, imgsz=IMGSZ, threads=1)
    return next(image for image, one in zip(images, found, strict=True) if set(one.classes) == {0, 1})


def test_the_share_of_boxes_that_agree(disagreeing: str, of_both_classes: Path) -> None:
    page = shown(disagreeing, "compared", of_both_classes)
    fp32, int8 = detections(page, "FP32"), detections(page, "INT8")
    agreement = compare(fp32, int8, LEAST_IOU)
    assert 0 < agreement.share < 1
    assert page["numbers"]["share"] == f"{floor(100 * agreement.share)}%"
    assert page["status"] == (
        f"{of_both_classes.name}: INT8 finds {len(int8.scores)} objects. INT8 and FP32 agree on "
        f"{2 * len(agreement.ious)} of their {len(fp32.scores) + len(int8.scores)} boxes."
    )
    assert re.fullmatch(r"\d+\.\d\d\W", page["numbers"]["speedup"])


def test_the_share_of_frames_that_agree(url: str, disagreeing: str, of_both_classes: Path, tmp_path: Path) -> None:
    film(of_both_classes, tmp_path / "still.webm")
    for demo, share in ((url, 100), (disagreeing, 0)):
        page = shown(demo, "comparedVideo", tmp_path / "still.webm")
        told = re.search(r"after (\d+) frames?. INT8 agrees with FP32 on (\d+) of (\d+) frames.", page["status"])
        assert told, page["status"]
        frames, agreed, compared = map(int, told.groups())
        assert compared == frames > 0
        assert agreed == compared * share / 100
        assert page["numbers"]["frames"] == f"{share}%"


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_paired_as_in_python(url: str, seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(number: int) -> Detections:
        corners = random.integers(0, 40, (number, 2))
        boxes = np.concatenate([corners, corners + random.integers(5, 30, (number, 2))], axis=1)
        return Detections(boxes.astype(np.float64), np.ones(number), random.integers(0, 2, number))

    first, second = some(40), some(30)
    python = compare(first, second, LEAST_IOU)
    lists = [
        [{"label": int(c), "xyxy": box.tolist()} for c, box in zip(one.classes, one.boxes_xyxy, strict=True)]
        for one in (first, second)
    ]
    page = shown(url, "pair", json.dumps({"first": lists[0], "second": lists[1], "leastIou": LEAST_IOU}))
    assert [{index for index, alone in enumerate(one) if alone} for one in page["alone"]] == list(python.alone)
    assert page["matched"] == 2 * len(python.ious) > 0
    assert page["all"] == 70


def test_boxes_without_a_partner_are_dashed(url: str) -> None:
    page = shown(url, "dashes")
    assert page["alone"] < 0.9 * page["paired"]


def test_the_page_fits_phones_and_desktops(url: str) -> None:
    for case, measured in shown(url, "layout").items():
        assert measured["scrollWidth"] <= measured["innerWidth"], case
        assert min(measured["heights"]) >= 44, case  # px: what a thumb hits
        assert 300 < measured["canvas"] < measured["innerWidth"], case


def test_text_is_readable_in_light_and_dark(url: str) -> None:
    for scheme, contrasts in shown(url, "contrasts").items():
        assert not {name: contrast for name, contrast in contrasts.items() if contrast < 4.5}, scheme  # WCAG 2.2, AA
