"""The detector at work, from the shell: what is read, what is written, and that it needs no torch."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from omegaconf import OmegaConf
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_sample_images

from src import PROJECT, predict
from src.config.predict import Predict
from src.deployment import sources
from src.deployment.onnx_detector import OnnxDetector
from src.evaluation import detections
from src.foundation.errors import UserError
from src.reporting import picture_files
from src.workflow import sweep
from src.workflow.stage_files import StageFiles

SIDE, LOCATIONS = 64, 84
PARAMS = Predict(
    source="image.png",
    model="models/int8.onnx",
    runtime="onnxruntime",
    score=0.25,
    iou=0.7,
    threads=1,
    compare=False,
    frames=None,
)
WRITTEN = ["detections.csv", "detections.json", "pictures", "summary.json"]


def small_detector(path: Path, *boxes: tuple[list[float], list[float]], names: str = "{0: 'cat', 1: '=dog'}") -> Path:
    """Write a network that finds boxes at fixed places, the surer, the redder the image.

    Args:
        path: of the ONNX file.
        boxes: centre and size in px of the square, and the score per class in an image that is red all over.
        names: of the classes, as ultralytics writes them.
    """
    places = np.zeros((1, 4, LOCATIONS), dtype=np.float32)
    scores = np.zeros((1, 2, LOCATIONS), dtype=np.float32)
    for index, (box, score) in enumerate(boxes):
        places[0, :, index], scores[0, :, index] = box, score
    constants = {"places": places, "scores": scores, "red": np.array([0]), "axes": np.array([2, 3])}
    constants["shape"] = np.array([1, 1, 1])
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["means"]),
        helper.make_node("Gather", ["means", "red"], ["redness"], axis=1),
        helper.make_node("Reshape", ["redness", "shape"], ["factor"]),
        helper.make_node("Mul", ["scores", "factor"], ["seen"]),
        helper.make_node("Concat", ["places", "seen"], ["output0"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, LOCATIONS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"names": names, "imgsz": f"[{SIDE}, {SIDE}]", "task": "detect", "stride": "32"})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


CAT = ([24.0, 32.0, 16.0, 16.0], [1.0, 0.1])
DOG = ([48.0, 32.0, 8.0, 8.0], [0.0, 0.5])
FAINT = ([10.0, 10.0, 8.0, 8.0], [0.0, 0.3])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with INT8, which finds a cat and a dog, with FP32, which finds the cat alone, and with an image."""
    root = tmp_path / "project"
    small_detector(root / "models/int8.onnx", CAT, DOG, FAINT)
    small_detector(root / "models/pruned.onnx", CAT)
    write_image(root / "image.png")
    return root


def write_image(path: Path, redness: int = 255) -> None:
    """Write a red image of 128 x 64 px: it covers half of the square, the rest is grey."""
    pixels = np.zeros((64, 128, 3), dtype=np.uint8)
    pixels[..., 2] = redness
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


REDNESS = (255 + 114) / 2 / 255
"""The mean of the square of such an image."""


def run(project: Path, **changed: Any) -> Path:
    """Run the command, and return the folder of its outputs."""
    output = project / "out"
    predict.run(replace(PARAMS, **changed), StageFiles("predict", project, output))
    return output


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_boxes_and_scores_are_in_px_of_the_image(project: Path) -> None:
    output = run(project)
    assert sorted(path.name for path in output.iterdir()) == WRITTEN
    cat, dog = read(output / "detections.json")
    assert cat == {
        "image_id": "image.png",
        "frame": None,
        "category_id": 0,
        "category": "cat",
        "bbox": [32, 16, 32, 32],
        "score": pytest.approx(REDNESS, abs=2e-6),
    }
    assert dog == {
        **cat,
        "category_id": 1,
        "category": "=dog",
        "bbox": [88, 24, 16, 16],
        "score": pytest.approx(REDNESS / 2, abs=2e-6),
    }
    rows = list(csv.reader((output / "detections.csv").read_text().splitlines()))
    assert rows[0] == ["image", "frame", "class", "class_index", "score", "x", "y", "width", "height"]
    assert rows[1] == ["image.png", "", "cat", "0", str(cat["score"]), "32.0", "16.0", "32.0", "32.0"]
    assert rows[2][2] == "'=dog"  # a spreadsheet would compute it
    summary = read(output / "summary.json")
    assert summary["detections"] == {"cat": 1, "=dog": 1}
    assert list(summary["ms"]) == ["preprocessing", "network", "reading"]
    assert all(0 < of["p50"] <= of["p95"] for of in summary["ms"].values())
    assert summary["frames_per_second"] > 0


def test_a_picture_shows_the_boxes(project: Path) -> None:
    picture = cv2.imread(str(run(project) / "pictures/image.png"))
    assert picture is not None
    assert picture.shape == (160, 320, 3)  # small images are enlarged
    drawn = np.argwhere((picture != [0, 0, 255]).any(axis=2))
    (_, left), (bottom, right) = drawn.min(axis=0), drawn.max(axis=0)
    assert (left, bottom) == (pytest.approx(32 * 2.5, abs=2), pytest.approx(48 * 2.5, abs=2))
    assert right >= 104 * 2.5 - 2  # a label is wider than its box
    large = np.zeros((400, 800, 3), dtype=np.uint8)
    large[..., 2] = 255
    cv2.imwrite(str(project / "large.png"), large)
    shown = cv2.imread(str(run(project, source="large.png") / "pictures/large.png"))
    assert shown is not None
    assert shown.shape == large.shape


def test_the_score_the_iou_and_the_model_are_those_that_were_asked_for(project: Path) -> None:
    assert len(read(run(project, score=0.1) / "detections.json")) == 3
    assert len(read(run(project, score=0.5) / "detections.json")) == 1
    small_detector(project / "own.onnx", CAT, ([26.0, 32.0, 16.0, 16.0], [0.9, 0.0]))
    assert len(read(run(project, model="own.onnx", iou=0.8) / "detections.json")) == 2
    assert len(read(run(project, model="own.onnx", iou=0.7) / "detections.json")) == 1


def test_nothing_found_is_an_empty_list(project: Path) -> None:
    output = run(project, score=0.9)
    assert read(output / "detections.json") == []
    assert len((output / "detections.csv").read_text().splitlines()) == 1


def test_openvino_finds_the_same(project: Path) -> None:
    pytest.importorskip("openvino")
    first = read(run(project) / "detections.json")
    assert read(run(project, runtime="openvino") / "detections.json") == first


def test_what_openvino_compiled_is_kept_and_used_for_that_file_alone(project: Path) -> None:
    pytest.importorskip("openvino")
    whole = read(run(project, runtime="openvino") / "detections.json")
    [compiled] = (project / ".cache/runtimes").rglob("*.blob")
    written_ns = compiled.stat().st_mtime_ns
    assert read(run(project, runtime="openvino") / "detections.json") == whole
    assert compiled.stat().st_mtime_ns == written_ns
    before = (project / "models/int8.onnx").stat()
    small_detector(project / "models/int8.onnx", CAT, ([48.0, 32.0, 8.0, 8.0], [0.0, 0.1]), FAINT)
    os.utime(project / "models/int8.onnx", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (project / "models/int8.onnx").stat().st_size == before.st_size
    assert len(read(run(project, runtime="openvino") / "detections.json")) == 1


def test_a_folder_is_read_in_order_and_what_cannot_be_read_is_named(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = project / "images"
    for name in ("b.png", "a.jfif", "below/c.jpg"):
        write_image(folder / Path(name).with_suffix(".jpg"))
        (folder / Path(name).with_suffix(".jpg")).rename(folder / name)
    for name in ("broken.png", "empty.jpg"):
        (folder / name).write_bytes(b"no image"[: 8 * (name == "broken.png")])
    (folder / "notes.txt").touch()
    (folder / "\x1b[31m.png").touch()
    with caplog.at_level("INFO"):
        output = run(project, source="images")
    found = [entry["image_id"] for entry in read(output / "detections.json") if entry["category"] == "cat"]
    assert found == ["a.jfif", "b.png", "below/c.jpg"]
    pictures = {path.relative_to(output / "pictures").as_posix() for path in (output / "pictures").rglob("*.*")}
    assert pictures == {"a.jfif.jpg", "b.png", "below/c.jpg"}
    summary = read(output / "summary.json")
    assert summary["frames"] == 3
    assert summary["not_read"] == [
        f"{name}: cannot be read as an image" for name in ("\x1b[31m.png", "broken.png", "empty.jpg")
    ]
    assert summary["passed_over"] == 1
    assert "3 could not be read: \\x1b[31m.png: cannot be read as an image; broken.png" in caplog.text
    assert "1 files of the folder are no images" in caplog.text


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 64))
    for number in range(frames):
        pixels = np.zeros((64, 128, 3), dtype=np.uint8)
        pixels[..., 2] = 250 - 10 * number
        writer.write(pixels)
    writer.release()


def numbers(output: Path) -> list[int]:
    return [entry["frame"] for entry in read(output / "detections.json") if entry["category"] == "cat"]


def frames_of(video: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(video))
    found = []
    while (read_one := capture.read())[0]:
        found.append(read_one[1])
    return found


def test_a_video_becomes_a_video(project: Path) -> None:
    write_video(project / "video.avi", 8)
    output = run(project, source="video.avi")
    assert sorted(path.name for path in output.iterdir()) == [*WRITTEN[:2], "summary.json", "video.mp4"]
    assert numbers(output) == list(range(8))
    scores = [entry["score"] for entry in read(output / "detections.json") if entry["category"] == "cat"]
    assert scores == sorted(scores, reverse=True)  # each frame is darker
    shown = frames_of(output / "video.mp4")
    assert [picture.shape for picture in shown] == [(160, 320, 3)] * 8
    assert cv2.VideoCapture(str(output / "video.mp4")).get(cv2.CAP_PROP_FPS) == 10
    assert read(output / "summary.json")["not_read"] == []


def test_the_same_video_gives_the_same_bytes(project: Path) -> None:
    write_video(project / "video.avi", 4)
    names = ("video.mp4", "detections.json", "detections.csv")
    first = {name: (run(project, source="video.avi") / name).read_bytes() for name in names}
    assert {name: (run(project, source="video.avi") / name).read_bytes() for name in names} == first


def test_a_limit_of_frames_ends_a_video_and_a_folder(project: Path) -> None:
    write_video(project / "video.avi", 8)
    assert numbers(run(project, source="video.avi", frames=3)) == [0, 1, 2]
    for name in "abc":
        write_image(project / f"images/{name}.png")
    assert read(run(project, source="images", frames=2) / "summary.json")["frames"] == 2


def frames_in(video: bytes) -> list[int]:
    """Return where the frames of an AVI file start; the first and the last such marks are in its header and index."""
    marks = [index for index in range(len(video)) if video[index : index + 4] == b"00dc"]
    return marks[1:9]


def test_frames_that_a_damaged_video_lacks_are_counted_and_named(project: Path) -> None:
    write_video(project / "video.avi", 8)
    whole = (project / "video.avi").read_bytes()
    (project / "video.avi").write_bytes(whole[: frames_in(whole)[5]])
    output = run(project, source="video.avi")
    assert numbers(output) == list(range(5))
    missing = [f"video.avi, frame {number}: cannot be decoded" for number in (5, 6, 7)]
    assert read(output / "summary.json")["not_read"] == missing


def test_after_a_bad_frame_a_video_goes_on(project: Path) -> None:
    write_video(project / "video.avi", 8)
    damaged = bytearray((project / "video.avi").read_bytes())
    start = frames_in(bytes(damaged))[3] + 8
    damaged[start : start + 200] = bytes(200)
    (project / "video.avi").write_bytes(damaged)
    output = run(project, source="video.avi")
    assert numbers(output) == [0, 1, 2, 4, 5, 6, 7]
    assert read(output / "summary.json")["not_read"] == ["video.avi, frame 3: cannot be decoded"]


def test_a_video_that_announces_far_too_many_frames_ends() -> None:
    class Capture:
        def get(self, key: int) -> float:
            return 1e12

        def read(self) -> tuple[bool, None]:
            return False, None

        def release(self) -> None:
            pass

    *_, last = islice(sources.Video(Capture(), "video.avi"), 2 * sources.MOST_FAILURES)
    assert (last.number, last.fault) == (sources.MOST_FAILURES - 1, "nor can the rest to frame 999999999999 be read")


class Camera(BaseHTTPRequestHandler):
    """Sends a few frames as a camera in a network does, and breaks off."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
        self.end_headers()
        pixels = np.zeros((64, 128, 3), dtype=np.uint8)
        pixels[..., 2] = 255
        jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
        for _ in range(5):
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    """The address of a camera, with a password."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://ann:secret@127.0.0.1:{server.server_address[1]}/live.mjpeg"
        server.shutdown()


def test_a_stream_that_breaks_off_is_named_and_keeps_what_was_seen(project: Path, camera: str) -> None:
    output = run(project, source=camera)
    summary = read(output / "summary.json")
    assert summary["frames"] == len(numbers(output)) == len(frames_of(output / "video.mp4")) > 0
    [fault] = summary["not_read"]
    assert fault.endswith(f"frame {summary['frames']}: the stream broke off")
    for path in output.iterdir():
        assert b"secret" not in path.read_bytes(), path.name


def test_compare_shows_fp32_beside_int8_and_counts_what_agrees(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        output = run(project, compare=True)
    agreement = read(output / "summary.json")["agreement"]
    assert agreement["share_matched"] == pytest.approx(2 / 3, abs=1e-6)  # a cat in both, a dog in one
    assert agreement["least_iou"] == 0.5
    assert "agree with FP32, in the mean over frames: 0.6667" in caplog.text
    assert len(read(output / "detections.json")) == 2  # of INT8 alone
    picture = cv2.imread(str(output / "pictures/image.png"))
    assert picture is not None
    left, right = np.split(picture[40:], 2, axis=1)
    assert (left[:, 240:300] == [0, 0, 255]).all()  # where INT8 has the dog
    assert not (right[:, 240:300] == [0, 0, 255]).all()


def test_networks_of_other_classes_are_not_compared(project: Path) -> None:
    small_detector(project / "models/pruned.onnx", CAT, names="{0: 'cat', 1: 'cow'}")
    with pytest.raises(UserError, match=r"compare needs a model with the classes of models/pruned.onnx \(cat, cow\)"):
        run(project, compare=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": "missing.png"}, r"missing\.png: there is no such image, folder or video"),
        ({"source": "models"}, r"models: expected images \(.*\) in the folder, found none"),
        ({"source": "text.mp4"}, r"text\.mp4: cannot be opened as a video"),
        ({"source": "text.png"}, r"text\.png: nothing could be read: text\.png: cannot be read as an image"),
        ({"source": "987"}, r"camera 987: cannot be opened as a video"),
        ({"source": "http://ann:secret@127.0.0.1:9/x"}, r"^http://127\.0\.0\.1:9/x: cannot be opened as a video"),
        (
            {"model": "missing.onnx"},
            r"model must be an ONNX file of this project, got missing\.onnx, which is not there",
        ),
        ({"model": "text.png"}, r"text\.png: not a detector that this project exported: it is no network in ONNX"),
        ({"model": "strange.onnx"}, r"strange\.onnx: onnxruntime cannot run it: .*Strange"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_is_written(
    project: Path, changed: dict[str, str], message: str
) -> None:
    (project / "text.mp4").write_text("no video")
    (project / "text.png").write_text("no image")
    strange = onnx.load(project / "models/int8.onnx")
    strange.graph.node[3].op_type = "Strange"
    onnx.save(strange, project / "strange.onnx")
    with pytest.raises(UserError, match=message) as caught:
        run(project, **changed)
    assert "\n" not in str(caught.value)
    assert not list((project / "out").glob("*"))


def test_a_pipeline_that_has_not_run_yet_is_named(project: Path) -> None:
    (project / "models/int8.onnx").unlink()
    with pytest.raises(UserError, match=r"models/int8\.onnx is not there: run `dvc repro`"):
        run(project)


@pytest.fixture
def presses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often Ctrl-C is pressed while each frame is looked at, from the first on."""
    wanted: list[int] = []
    detect = OnnxDetector.detect

    def detect_and_press(self: OnnxDetector, *arguments: Any) -> Any:
        for _ in range(wanted.pop(0) if wanted else 0):
            os.kill(os.getpid(), signal.SIGTERM)  # treated alike; shells turn Ctrl-C off in the background
        return detect(self, *arguments)

    monkeypatch.setattr(OnnxDetector, "detect", detect_and_press)
    return wanted


def test_ctrl_c_keeps_what_was_done_so_far(project: Path, presses: list[int]) -> None:
    write_video(project / "video.avi", 8)
    presses += [0, 0, 1]
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(project, source="video.avi")
    output = project / "out"
    assert numbers(output) == [0, 1, 2]
    assert len(frames_of(output / "video.mp4")) == 3
    assert read(output / "summary.json")["frames"] == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_twice_ends_at_once_and_writes_nothing(project: Path, presses: list[int]) -> None:
    write_video(project / "video.avi", 8)
    presses += [0, 2]
    with pytest.raises(KeyboardInterrupt):
        run(project, source="video.avi")
    assert not list((project / "out").iterdir())


def test_a_video_that_was_not_written_whole_is_an_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(project / "video.avi", 4)
    monkeypatch.setattr(picture_files, "_length", lambda video: 3)  # as on a full disk
    with pytest.raises(OSError, match=r"OpenCV could not write it: .*video\.mp4"):
        run(project, source="video.avi")
    assert not list((project / "out").iterdir())


def test_frames_of_another_size_fit_into_the_video(tmp_path: Path) -> None:
    with picture_files.video_file(tmp_path / "video.mp4", 25) as show:
        for side in (64, 128, 64):
            show("frame", np.full((side, side, 3), side, dtype=np.uint8))
    assert [frame.shape for frame in frames_of(tmp_path / "video.mp4")] == [(64, 64, 3)] * 3


IMPORTED = """
import runpy, sys
from pathlib import Path
import src.workflow.stage
src.workflow.stage.PROJECT = Path(sys.argv[1])
sys.argv = ["src.predict", *sys.argv[2:]]
try:
    runpy.run_module("src.predict", run_name="__main__")
except SystemExit as end:
    print("exit code", end.code)
print("imported", *{name.partition(".")[0] for name in sys.modules})
"""


def shell(project: Path, *arguments: str) -> tuple[list[str], str]:
    """Run the command on a project, in a process of its own; return the lines on stdout and all of stderr."""
    command = [sys.executable, "-c", IMPORTED, str(project), *arguments, f"hydra.run.dir={project}/out"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_neither_torch_nor_ultralytics_nor_mlflow_is_imported(project: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    lines, errors = shell(project, "source=image.png", f"runtime={runtime}", "compare=true")
    assert lines[-2] == "exit code 0", errors
    imported = set(lines[-1].split())
    assert {"numpy", "cv2", runtime} <= imported
    assert not imported & {"torch", "torchvision", "ultralytics", "mlflow", "pandas", "matplotlib"}
    assert sorted(path.name for path in (project / "out").iterdir()) == [
        "detections.csv",
        "detections.json",
        "pictures",
        "predict.log",
        "summary.json",
    ]


def test_a_sweep_is_not_recorded(tmp_path: Path) -> None:
    hydra = {"job": {"config_name": "predict"}, "runtime": {"cwd": str(tmp_path)}, "sweep": {"dir": "multirun"}}
    sweep.SweepCallback().on_multirun_start(OmegaConf.create({"hydra": hydra}))
    assert not sweep.has_started()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "error: source must be an image, a folder of images, a video, the number of a camera or a URL, got none: "
            "edit conf/predict.yaml, or write source=... behind the command",
        ),
        (
            ["source=a.png", "runtime=tensorrt"],
            "error: runtime must be one of onnxruntime, openvino, got tensorrt: edit",
        ),
        (["source=a.png", "score=1.5"], "error: score must be at least 0 and below 1, got 1.5: edit conf/predict.yaml"),
        (
            ["source=a.png", "model=b.onnx"],
            "error: model must be an ONNX file of this project, got b.onnx, which is not",
        ),
    ],
)
def test_bad_values_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "src.predict", *arguments, f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["yolov8n", "yolo11n"])
def test_photographs_have_the_boxes_of_the_evaluation(
    kind: str, networks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    for name, image in zip(("china.png", "flower.png"), load_sample_images().images, strict=True):
        cv2.imwrite(str(tmp_path / "images" / name), image[..., ::-1])
    monkeypatch.setattr(detections, "LEAST_SCORE", 0.01)
    output = run(tmp_path, source="images", model=str(networks[kind]), score=0.01)
    found = read(output / "detections.json")
    paths = sorted((tmp_path / "images").iterdir())
    for path, expected in zip(paths, detections.detect(networks[kind], paths, imgsz=SIDE, threads=1), strict=True):
        own = [entry for entry in found if entry["image_id"] == path.name]
        assert len(own) > 0
        assert [entry["category_id"] for entry in own] == expected.classes.tolist()
        np.testing.assert_allclose([entry["score"] for entry in own], expected.scores, atol=1e-6)
        corners = expected.boxes_xyxy
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        # float32 there, float64 here, and the file has three digits.
        np.testing.assert_allclose([entry["bbox"] for entry in own], boxes, atol=2e-3)
