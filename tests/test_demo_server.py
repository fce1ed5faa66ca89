"""The server of the demo: what it needs, what it answers, and what it does not."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from demo.serve import FP32, INT8, RUNTIME, server
from src.evaluation.agreement import LEAST_IOU


@pytest.mark.parametrize("missing", [INT8, RUNTIME])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    for name in {INT8, f"{RUNTIME}/ort.mjs"}:
        if not name.startswith(missing):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=f"error: {missing} is not there"):
        server(tmp_path, 0)


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A project in miniature; of its test images one is a TIFF, one has no object, one no labels."""
    names = [FP32, f"{RUNTIME}/ort.mjs", "demo/page/index.html", "demo/page/pictures/a.png"]
    names += [f"data/prepared/images/test/{name}" for name in ("a.TIFF", "b.jpg", "c.png", "d.png", "e.png")]
    names += [f"data/prepared/labels/test/{name}.txt" for name in "abd"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "data/prepared/labels/test/c.txt").touch()
    images, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", [1, 3, 64, 64]), ("output0", [1, 6, 84]))
    )
    network = helper.make_model(helper.make_graph([], "empty", [images], [output]))
    helper.set_model_props(network, {"names": "{1: 'dog', 0: 'cat'}", "imgsz": "[64, 64]"})
    save(network, tmp_path / INT8)
    return tmp_path


@pytest.fixture
def port(small_project: Path) -> Iterator[int]:
    with server(small_project, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_port
        serving.shutdown()


def answer_of(port: int, path: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes, str | None]:
    """The status, the body, and what the browser may keep."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host.replace("PORT", str(port))})
    try:
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Cache-Control"]
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
def test_only_requests_to_this_machine_are_answered(port: int, host: str, status: int, method: str) -> None:
    for path in ("/", "/models/int8.onnx", "/runtime/ort.mjs", "/samples/0"):
        assert answer_of(port, path, host, method)[0] == status, path


@pytest.mark.parametrize("path", ["/pictures/", "/runtime/", "/runtime/../", "/models/", "/samples/", "/samples/2"])
def test_no_folder_and_no_other_file_is_answered(port: int, path: str) -> None:
    assert answer_of(port, "/pictures/a.png")[0] == 200
    assert answer_of(port, path)[0] == 404


def test_samples_are_test_images_with_objects_that_browsers_show(port: int) -> None:
    assert [answer_of(port, f"/samples/{number}")[1].decode()[-5:] for number in range(2)] == ["b.jpg", "d.png"]


def test_the_page_is_told_about_the_detector(port: int, small_project: Path) -> None:
    expected = {"names": ["cat", "dog"], "imgsz": [64, 64], "least_iou": LEAST_IOU, "samples": 2}
    assert json.loads(answer_of(port, "/detector.json")[1]) == {**expected, "fp32": True}
    (small_project / FP32).unlink()
    assert json.loads(answer_of(port, "/detector.json")[1]) == {**expected, "fp32": False}


@pytest.mark.parametrize("path", ["/", "/models/int8.onnx", "/detector.json"])
def test_a_browser_asks_whether_a_file_is_new(port: int, path: str) -> None:
    assert answer_of(port, path)[2] == "no-cache"


def test_a_network_that_is_no_detector_is_an_answer_not_a_broken_connection(small_project: Path, port: int) -> None:
    (small_project / INT8).write_bytes(b"no network")
    assert answer_of(port, "/detector.json")[0] == 404
