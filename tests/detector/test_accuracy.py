from __future__ import annotations

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from ultralytics import YOLO

from src.detector import runtime
from src.detector.accuracy import validate, validate_by_image
from src.detector.dataset import view_of
from src.evaluation.bootstrap import map50_95

SIDE, IMAGES, CLASSES, LOCATIONS = 96, 24, 3, 40
NAMES = {0: "cat", 1: "dog", 2: "hen"}


def scene(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (N, 4), xywh px around their centres, that hardly overlap, and their classes."""
    corners = random.permutation([(x, y) for x in (16, 48, 80) for y in (16, 48, 80)])[: random.integers(1, 7)]
    return np.hstack([corners, random.uniform(10, 28, (len(corners), 2))]), random.integers(0, CLASSES, len(corners))


def guesses(random: np.random.Generator, boxes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the output of an average detector, (4 + CLASSES, LOCATIONS): shifted, missed, misclassified and false
    boxes.
    """
    output = np.zeros((4 + CLASSES, LOCATIONS), dtype=np.float32)
    output[:4] = np.array([[5], [5], [4], [4]])
    for location, (box, index) in enumerate(zip(boxes, classes, strict=True)):
        if random.random() < 0.1:
            continue
        output[:4, location] = box + random.normal(0, 1.5, 4)
        guessed = index if random.random() < 0.85 else (index + 1) % CLASSES
        output[4 + guessed, location] = random.uniform(0.2, 0.95)
    made_up = slice(len(boxes), len(boxes) + 2)
    output[:2, made_up], output[2:4, made_up] = random.uniform(10, 86, (2, 2)), random.uniform(8, 20, (2, 2))
    output[4, made_up] = random.uniform(0.05, 0.6, 2)
    return output


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset whose grey images encode their number, and an ONNX detector that looks its output up."""
    root, random = tmp_path_factory.mktemp("lookup"), np.random.default_rng(0)
    answers = []
    for split in ("train", "val", "test"):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
    for number in range(IMAGES):
        boxes, classes = scene(random)
        answers.append(guesses(random, boxes, classes))
        cv2.imwrite(str(root / f"images/test/{number:02d}.png"), np.full((SIDE, SIDE, 3), number * 8, dtype=np.uint8))
        lines = [f"{c} {' '.join(f'{v / SIDE:.8f}' for v in box)}" for box, c in zip(boxes, classes, strict=True)]
        (root / f"labels/test/{number:02d}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text(f"train: images/test\nval: images/test\ntest: images/test\nnames: {NAMES}\n")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["images"], ["grey"], keepdims=0),
            helper.make_node("Mul", ["grey", "levels"], ["number"]),
            helper.make_node("Round", ["number"], ["rounded"]),
            helper.make_node("Cast", ["rounded"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["answers", "index"], ["answer"]),
            helper.make_node("Unsqueeze", ["answer", "axis"], ["output0"]),
        ],
        "lookup",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + CLASSES, LOCATIONS])],
        [
            numpy_helper.from_array(np.array(255 / 8, dtype=np.float32), "levels"),
            numpy_helper.from_array(np.stack(answers), "answers"),
            numpy_helper.from_array(np.array([0]), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    facts = {"names": NAMES, "stride": 32, "imgsz": [SIDE, SIDE], "task": "detect", "batch": 1, "channels": 3}
    helper.set_model_props(model, {key: str(value) for key, value in facts.items()})
    onnx.save(model, root / "lookup.onnx")
    return root


def coco_accuracy(root: Path) -> np.ndarray:
    """Return the AP of the same detections by IoU and class, (10, CLASSES), computed by pycocotools."""
    images, annotations, detections = [], [], []
    found = YOLO(root / "lookup.onnx", task="detect").predict(
        root / "images/test", imgsz=SIDE, conf=0.001, iou=0.7, max_det=300, verbose=False, rect=False
    )
    for number, result in enumerate(found, start=1):
        images.append({"id": number, "width": SIDE, "height": SIDE})
        for line in (root / f"labels/test/{Path(result.path).stem}.txt").read_text().splitlines():
            index, x, y, w, h = map(float, line.split())
            box = [(x - w / 2) * SIDE, (y - h / 2) * SIDE, w * SIDE, h * SIDE]
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": int(index), "iscrowd": 0}
            annotations.append({**entry, "bbox": box, "area": box[2] * box[3]})
        rows = zip(result.boxes.xyxy.tolist(), result.boxes.conf.tolist(), result.boxes.cls.tolist(), strict=True)
        for (left, top, right, bottom), score, index in rows:
            xywh = [left, top, right - left, bottom - top]
            detections.append({"image_id": number, "category_id": int(index), "bbox": xywh, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        categories = [{"id": index, "name": name} for index, name in NAMES.items()]
        truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision: np.ndarray = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class
    return precision.mean(axis=1)


def test_map_agrees_with_pycocotools(detector: Path) -> None:
    runtime.settle("cpu", 1)
    with view_of(detector) as data:
        accuracy = validate(detector / "lookup.onnx", data, split="test", imgsz=SIDE, device="cpu")
    expected = coco_accuracy(detector)
    assert 0.2 < expected.mean() < 0.8, "a detector that is never or always right could not tell two metrics apart"
    assert np.ptp(expected.mean(axis=0)) > 0.02, "classes that are as good as each other could be exchanged"
    # ultralytics interpolates precision linearly between recalls where COCO takes steps.
    assert accuracy.map50_95 == pytest.approx(expected.mean(), abs=0.002)
    assert accuracy.map50 == pytest.approx(expected[0].mean(), abs=0.002)
    assert list(accuracy.per_class) == list(NAMES.values())
    for of, of_class in zip(accuracy.per_class.values(), expected.T, strict=True):
        assert of.map50_95 == pytest.approx(of_class.mean(), abs=0.005)
        assert of.map50 == pytest.approx(of_class[0], abs=0.005)


def test_what_each_image_adds_makes_the_same_map(detector: Path) -> None:
    runtime.settle("cpu", 1)
    with view_of(detector) as data:
        accuracy, images = validate_by_image(detector / "lookup.onnx", data, split="test", imgsz=SIDE, device="cpu")
    assert len(images) == IMAGES
    for number, image in enumerate(images):
        label = (detector / f"labels/test/{number:02d}.txt").read_text()
        assert sorted(image.labelled) == sorted(int(line.split()[0]) for line in label.splitlines())
        assert image.correct.shape == (len(image.scores), 10) == (len(image.classes), 10)
    # ultralytics compares recalls in float, so a step of the curve may fall on either side of one of the hundred.
    assert map50_95(images, np.ones((1, IMAGES), dtype=np.int64))[0] == pytest.approx(accuracy.map50_95, abs=0.001)
