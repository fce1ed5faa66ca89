"""The steps of the pipeline with an input that is not square, from training to INT8."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from src import calibrate, eval_int8, quantize
from src.deployment.onnx_detector import OnnxDetector
from src.detector.accuracy import validate
from src.detector.checkpoint import load_detector, save_detector
from src.detector.dataset import view_of
from src.detector.training import NewNetwork, train
from src.distillation.distillation_loss import HardLoss
from src.evaluation.detections import detect
from src.workflow.stage_files import StageFiles
from tests.conftest import TINY_TRAINING
from tests.quantization.networks import Log, tiny_project
from tests.test_calibrate import PARAMS as CALIBRATE
from tests.test_eval_int8 import PARAMS as EVAL_INT8
from tests.test_quantize import PARAMS as QUANTIZE

SIZE = [96, 160]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_project(tmp_path_factory.mktemp("height_and_width"))


@pytest.mark.slow
def test_the_stages_after_training_make_and_measure_a_network_of_this_size(project: Path) -> None:
    files = {stage: StageFiles(stage, project, project) for stage in ("calibrate", "quantize", "eval_int8")}
    calibrate.run(replace(CALIBRATE, imgsz=SIZE), files["calibrate"], Log())
    quantize.run(replace(QUANTIZE, imgsz=SIZE), files["quantize"], Log())
    results: dict[str, Any] = dict(eval_int8.run(replace(EVAL_INT8, imgsz=SIZE), files["eval_int8"], Log()).metrics)
    for name in ("pruned", "int8"):
        [image] = onnx.load(project / f"models/{name}.onnx").graph.input
        assert [side.dim_value for side in image.type.tensor_type.shape.dim] == [1, 3, *SIZE]
    assert results["onnx_fp32"]["gflops"] == results["pruned"]["gflops"]
    assert json.loads((project / "models/calibration.json").read_text())["imgsz"] == SIZE
    assert "one image of 96 x 160 px" in (project / "reports/report.md").read_text()


@pytest.mark.slow
def test_every_batch_of_a_training_and_every_validation_has_this_size(prepared: Path, tmp_path: Path) -> None:
    shapes: set[tuple[int, ...]] = set()

    class Criterion(HardLoss):
        def __call__(self, predictions: Any, batch: Any) -> Any:
            shapes.add(tuple(batch["img"].shape[1:]))
            return super().__call__(predictions, batch)

    history: list[dict[str, float]] = []
    arguments = {**TINY_TRAINING, "imgsz": SIZE, "epochs": 2}  # the second without mosaic
    with view_of(prepared) as data:
        trained = train(
            NewNetwork("yolov8n.yaml"),
            data,
            arguments,
            device="cpu",
            checkpoint=tmp_path / "state.pt",
            make_criterion=Criterion,
            on_epoch=lambda epoch, metrics: history.append(dict(metrics)),
        )
        save_detector(trained.network, tmp_path / "detector.pt", SIZE)
        found = validate(tmp_path / "detector.pt", data, split="val", imgsz=SIZE, device="cpu")
    assert shapes == {(3, *SIZE)}, "the criterion sees the batches of validation, too"
    assert load_detector(tmp_path / "detector.pt").args["imgsz"] == SIZE
    assert found.map50_95 == pytest.approx(history[trained.best_epoch - 1]["map50_95"], abs=0.001)


def one_box(path: Path, box_xywh: list[float]) -> Path:
    """Write a detector for images of `SIZE` that finds one box, px of its input, in each of them."""
    answer = np.zeros((1, 6, 8), dtype=np.float32)
    answer[0, :, 0] = [*box_xywh, 0.9, 0.1]
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["images"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["brightest", "nothing"], ["zero"]),
            helper.make_node("Add", ["answer", "zero"], ["output0"]),
        ],
        "one_box",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *SIZE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 8])],
        [numpy_helper.from_array(answer, "answer"), numpy_helper.from_array(np.float32(0), "nothing")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    facts = {"names": {0: "cat", 1: "dog"}, "stride": 32, "imgsz": SIZE, "task": "detect", "batch": 1, "channels": 3}
    helper.set_model_props(model, {key: str(value) for key, value in facts.items()})
    onnx.save(model, path)
    return path


BOXES = [
    pytest.param((200, 100), [60, 48, 40, 40], [50, 25, 100, 75], id="scaled to 160 x 80, 8 px below the upper edge"),
    pytest.param((100, 200), [80, 48, 24, 48], [25, 50, 75, 150], id="scaled to 48 x 96, 56 px from the left edge"),
]
"""Width and height of an image, a box in the input, and the box in the image that it is, px."""


@pytest.mark.parametrize(("image_wh", "inside_xywh", "in_image_xyxy"), BOXES)
def test_a_known_box_is_read_where_it_is(
    image_wh: tuple[int, int], inside_xywh: list[float], in_image_xyxy: list[float], tmp_path: Path
) -> None:
    network = one_box(tmp_path / "network.onnx", inside_xywh)
    width, height = image_wh
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    for split in ("train", "val", "test"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
    image = tmp_path / "images/test/image.png"
    cv2.imwrite(str(image), pixels)
    left, top, right, bottom = np.divide(in_image_xyxy, (width, height, width, height))
    row = f"0 {(left + right) / 2} {(top + bottom) / 2} {right - left} {bottom - top}"
    (tmp_path / "labels/test/image.txt").write_text(row)
    (tmp_path / "data.yaml").write_text("names: {0: cat, 1: dog}\n")

    found, _ = OnnxDetector(network, "onnxruntime", threads=1, cache=tmp_path).detect(pixels, 0.25, 0.7)
    assert found.boxes_xyxy.tolist() == [pytest.approx(in_image_xyxy, abs=1e-3)]
    [by_ultralytics] = detect(network, [image], imgsz=SIZE, threads=1)
    assert by_ultralytics.boxes_xyxy.tolist() == [pytest.approx(in_image_xyxy, abs=1e-3)]
    with view_of(tmp_path) as data:
        accuracy = validate(network, data, split="test", imgsz=SIZE, device="cpu")
    assert accuracy.map50_95 == pytest.approx(0.995, abs=0.001), "ultralytics' greatest"
