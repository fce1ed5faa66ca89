"""The whole chain with YOLO26: an end-to-end head beside a dense one, and boxes without distributions."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir

from src import PROJECT, calibrate, distill, eval_int8, prune, quantize, train_teacher
from src.config.composition import register, typed
from src.delivery.target import Source
from src.deployment.description import describe
from src.deployment.images import load_image
from src.deployment.onnx_detector import OnnxDetector
from src.detector.checkpoint import load_detector
from src.evaluation import detections
from src.foundation.atomic import write_json
from src.foundation.prepared import images_of
from src.quantization.calibrated_network import CalibratedNetwork
from src.quantization.ranges.calibration import read_calibration
from src.targets import target_of
from src.trainings import later_stages
from src.workflow.stage import perform
from src.workflow.stage_files import StageFiles
from tests.quantization.networks import SETTING, Log, run
from tests.stages import TINY

pytestmark = pytest.mark.slow

FAMILY = {
    "train_teacher": ["teacher=yolo26s"],
    "distill": ["student=yolo26n", "student.weights=teacher", "distillation=heads_overlap", "control=never"],
    "prune": ["distillation=heads_overlap"],
    "calibrate": ["images=4", "bins=256"],
    "quantize": [],
    "eval_int8": ["latency_rounds=2", "pictures=1", "max_drop=1"],
}
RUN = {
    "train_teacher": train_teacher.run,
    "distill": distill.run,
    "prune": prune.run,
    "calibrate": calibrate.run,
    "quantize": quantize.run,
    "eval_int8": eval_int8.run,
}
ALL_STAGES = ("imgsz", "threads", "device")


def overrides(stage: str) -> list[str]:
    trains = stage in ("train_teacher", "distill", "prune")
    return [*(f"{key}={value}" for key, value in TINY.items() if trains or key in ALL_STAGES), *FAMILY[stage]]


@pytest.fixture(scope="module")
def project(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the whole chain has run, from the teacher to the report."""
    root = tmp_path_factory.mktemp("yolo26")
    (root / "data").mkdir()
    (root / "data/prepared").symlink_to(prepared)
    (root / "models/control").mkdir(parents=True)
    (root / "params.yaml").write_text("choices:\n  student: yolo26n\n")
    classes = {str(digit): {"boxes": {"train": 5, "val": 2, "test": 2}} for digit in range(10)}
    write_json(root / "reports/prepare_labels.json", {"classes": classes})
    register()
    with (
        initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(later_stages, "compose", lambda stage: compose(stage, overrides(stage)))
        for stage, stage_run in RUN.items():
            perform(stage_run, typed(stage, compose(stage, overrides(stage))), StageFiles(stage, root, root), Log())
    return root


def test_the_heads_without_dfl_teach_by_their_boxes(project: Path) -> None:
    epochs = pd.read_csv(project / "reports/distill/epochs.csv")
    assert {"train/response", "train/overlap", "train/l1_loss"} <= set(epochs.columns)


def test_the_dense_head_is_deployed_and_counted(project: Path) -> None:
    network = load_detector(project / "models/pruned.pt")
    image = load_image(images_of(project / "data/prepared", "test")[0], 64)
    with torch.no_grad():
        raw = network(torch.from_numpy(image))[1]
        dense, other = (network.model[-1]._inference(raw[branch]).numpy() for branch in ("one2many", "one2one"))
    exported = run(onnx.load(project / "models/pruned.onnx"), image)
    np.testing.assert_allclose(exported, dense, atol=1e-3)
    assert np.abs(exported - other).max() > 0.1
    counted = json.loads((project / "reports/eval_int8.json").read_text())["pruned"]["parameters"]
    assert counted < sum(parameter.numel() for parameter in network.parameters())
    assert len(describe(project / "models/int8.onnx").names) == 10


@pytest.mark.parametrize("name", ["onnxruntime", "integer", "integer_qdq"])
def test_files_for_devices_find_what_float_finds(project: Path, tmp_path: Path, name: str) -> None:
    calibration = read_calibration(project / "models/calibration.json", project / "models/pruned.onnx", 64)
    in_float = onnx.load(project / "models/pruned.onnx")
    network = CalibratedNetwork(in_float, calibration, project / "data/prepared/images/train", 1)
    target = target_of(name)
    target.write(Source(project / "models/pruned.pt", network, SETTING, 1), tmp_path / target.file)
    opened = target.open(tmp_path / target.file, 1)
    image = load_image(images_of(project / "data/prepared", "test")[0], 64)
    found, expected = opened(image)[0], run(in_float, image)[0]
    assert np.abs(found[:4] - expected[:4]).max() < 3, "px"
    np.testing.assert_allclose(found[4:], expected[4:], atol=0.01)


def test_predict_finds_the_boxes_of_the_evaluation(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, least = project / "models/int8.onnx", 1e-5  # after one epoch no score is high
    monkeypatch.setattr(detections, "LEAST_SCORE", least)
    detector = OnnxDetector(network, "onnxruntime", 1, project / "cache")
    images = images_of(project / "data/prepared", "test")
    for image, expected in zip(images, detections.detect(network, images, imgsz=64, threads=1), strict=True):
        found, _ = detector.detect(cv2.imread(str(image)), least, 0.7)
        assert found.classes.tolist() == expected.classes.tolist() != []
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
