from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from src import calibrate, export_litert
from src.config.export_litert import ExportLitert
from src.deployment import litert
from src.deployment.export import export_tflite
from src.deployment.forwards import onnx_forward
from src.deployment.images import load_image
from src.foundation.errors import UserError
from src.workflow.stage_files import StageFiles
from tests.quantization.networks import IMGSZ, Log, random_images, tiny_project, untrained_detector
from tests.test_calibrate import PARAMS as CALIBRATION

pytestmark = pytest.mark.slow

PARAMS = ExportLitert(imgsz=IMGSZ, device="cpu", threads=1, precision="float32", workers=0)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_project(tmp_path_factory.mktemp("litert"))
    calibrate.run(replace(CALIBRATION, images=5), StageFiles("calibrate", root, root), Log())
    return root


@pytest.fixture(scope="module")
def metrics(project: Path) -> dict[str, Any]:
    pytest.importorskip("litert_torch")
    return dict(export_litert.run(PARAMS, StageFiles("export_litert", project, project), Log()).metrics)


def test_all_convolutions_except_dfl_run_in_integers(metrics: dict[str, Any]) -> None:
    assert metrics["integer_convolutions"] == 63
    assert metrics["convolutions"] == 64
    assert metrics["size_mib"] < 0.3 * metrics["fp32_size_mib"]
    assert 0 <= metrics["val"]["map50_95"] <= 1


@pytest.mark.parametrize("number", [0, 1])
def test_it_predicts_like_the_float_network(project: Path, metrics: dict[str, Any], number: int) -> None:
    assert metrics
    image = load_image(sorted((project / "data/prepared/images/train").iterdir())[number], IMGSZ)
    boxes_px, scores = np.split(onnx_forward(project / "models/pruned.onnx", image, threads=1)()[0][0], [4])
    boxes, scores_8bit = np.split(output(project / "models/int8.tflite", image), [4])
    assert np.corrcoef(boxes_px.ravel(), IMGSZ * boxes.ravel())[0, 1] > 0.95
    assert abs(boxes_px - IMGSZ * boxes).mean() < 0.2 * boxes_px.std()
    assert abs(scores - scores_8bit).mean() < 0.05


@pytest.mark.parametrize("architecture", ["yolo11n", "yolo26n"])
def test_heads_of_other_families_stay_in_float(architecture: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    weights = untrained_detector(architecture, 2, tmp_path / "network.pt")
    images = [load_image(path, IMGSZ) for path in random_images(tmp_path / "images", 3)]
    network = export_tflite(weights, tmp_path, IMGSZ)
    litert.quantize_tflite(network, tmp_path / "int8.tflite", images, threads=1)
    found = litert.count_tflite_convolutions(tmp_path / "int8.tflite")
    assert found.float == (1 if architecture == "yolo11n" else 0)
    assert found.integer > 60
    assert np.isfinite(output(tmp_path / "int8.tflite", images[0])).all()


def output(network: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(network), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def test_the_same_weights_give_the_same_bytes(project: Path, metrics: dict[str, Any], tmp_path: Path) -> None:
    assert metrics
    export_litert.run(PARAMS, StageFiles("export_litert", project, tmp_path), Log())
    assert (tmp_path / "models/int8.tflite").read_bytes() == (project / "models/int8.tflite").read_bytes()


def test_missing_packages_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert.importlib.util, "find_spec", lambda name: None if name == "litert_torch" else object())
    with pytest.raises(UserError, match=r"needs litert_torch: pip install .*\[litert\]"):
        export_litert.run(PARAMS, StageFiles("export_litert", project, project), Log())
