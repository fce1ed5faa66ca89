"""Files for devices: each agrees with the network in float, or is not written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from mlflow import MlflowClient

from src import PROJECT, calibrate, deploy
from src.config.deploy import Deploy
from src.delivery import integer_graph as integers
from src.delivery.measuring import MeanPrecision, detections_of
from src.delivery.opened import Opened, in_onnxruntime, in_openvino
from src.delivery.rockchip import ENVIRONMENT
from src.delivery.target import Source
from src.deployment.images import load_image
from src.evaluation.detections import detect
from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.quantization.calibrated_network import CalibratedNetwork
from src.quantization.ranges.calibration import read_calibration
from src.targets import NAMES, target_of
from src.workflow.stage_files import StageFiles
from tests.quantization.networks import IMGSZ, SETTING, Log, tiny_project
from tests.test_calibrate import PARAMS as CALIBRATION

pytestmark = pytest.mark.slow

CLASSES = ["class 0", "class 1"]


@dataclass
class _Evaluation:
    imgsz: int = IMGSZ
    cpu_threads: int = 1
    latency_rounds: int = 1
    latency_threads: int = 1


@dataclass
class _Quantize:
    imgsz: int = IMGSZ
    cpu_threads: int = 1
    method: str = "static"
    sensitivity_images: int = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(SETTING, name)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_project(tmp_path_factory.mktemp("deploy"))
    calibrate.run(replace(CALIBRATION, images=5), StageFiles("calibrate", root, root), Log())
    return root


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "pipeline_settings", lambda: (_Quantize(), _Evaluation()))


@pytest.fixture(scope="module")
def source(project: Path) -> Source:
    network = project / "models/pruned.onnx"
    calibration = read_calibration(project / "models/calibration.json", network, IMGSZ)
    calibrated = CalibratedNetwork(onnx.load(network), calibration, project / "data/prepared/images/train", 1)
    return Source(project / "models/pruned.pt", calibrated, SETTING, 1)


@pytest.fixture(scope="module")
def image(project: Path) -> np.ndarray:
    return load_image(sorted((project / "data/prepared/images/train").iterdir())[0], IMGSZ)


def run(project: Path, output: Path, *target: str, max_drop: float = 1.0) -> tuple[Any, Log]:
    log = Log()
    files = StageFiles("deploy", project, output)
    return deploy.run(Deploy(target=list(target), max_drop=max_drop), files, log), log


def opened(source: Source, name: str, folder: Path) -> Opened:
    target = target_of(name)
    target.write(source, folder / target.file)
    return target.open(folder / target.file, 1)


def agreement(file: Opened, project: Path) -> tuple[float, float]:
    """Return the correlation of a file's boxes with those of FP32, and the mean difference of scores.

    The network is not trained: its logits are so large that rounding moves single boxes far.
    """
    fp32 = in_onnxruntime(project / "models/pruned.onnx", 1)
    images = [load_image(path, IMGSZ) for path in sorted((project / "data/prepared/images/train").iterdir())]
    found, expected = (np.concatenate([one(image) for image in images]) for one in (file, fp32))
    boxes = np.corrcoef(found[:, :4].ravel(), expected[:, :4].ravel())[0, 1]
    return float(boxes), float(np.abs(found - expected)[:, 4:].mean())


def test_files_are_written_with_their_cards_and_recorded(project: Path, tmp_path: Path) -> None:
    result, log = run(project, tmp_path, "onnxruntime", "integer")
    assert result.failure is None
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["integer", "onnxruntime"]
    card = json.loads((tmp_path / "models/integer/card.json").read_text())
    assert card["classes"] == CLASSES
    assert card["input"]["type"] == "uint8"
    assert card["input"]["shape"] == [1, 3, IMGSZ, IMGSZ]
    assert card["licence"] == "AGPL-3.0"
    assert [level["stride"] for level in card["levels"]] == [8, 16, 32]
    assert len(card["outputs"]) == 6
    assert card["made_from"].keys() == {"models/pruned.pt", "models/pruned.onnx", "models/calibration.json"}
    assert card["agreement"]["images"] == card["measured"]["images"] == 2
    page = (tmp_path / "models/integer/card.md").read_text()
    for fact in (card["md5"], "uint8", "RGB", "AGPL-3.0", "class 1", str(card["levels"][2]["boxes"]["scale"])):
        assert fact in page
    other = json.loads((tmp_path / "models/onnxruntime/card.json").read_text())
    assert "levels" not in other
    assert other["outputs"] == [{"name": "output0", "shape": [1, 6, 84], "type": "float32"}]
    report = (tmp_path / "reports/deploy.md").read_text()
    assert "| onnxruntime | " in report
    assert "| integer | " in report
    children = {name: (metrics, files) for name, _, metrics, files in log.of("child")}
    assert children["integer"][1] == tmp_path / "models/integer"
    assert children["integer"][0]["written"] is True
    assert {"val", "drop", "agreement", "size_mib", "latency"} <= children["onnxruntime"][0].keys()


def test_the_same_inputs_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        run(project, tmp_path / name, "integer")
    for name in ("integer.onnx", "card.json", "card.md"):
        first, second = (tmp_path / one / "models/integer" / name for one in ("first", "second"))
        assert first.read_bytes() == second.read_bytes(), name


def test_the_same_weights_give_the_same_bytes_in_tflite(source: Source, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    first, second = tmp_path / "first.tflite", tmp_path / "second.tflite"
    for file in (first, second):
        target_of("litert").write(source, file)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["ncnn", "ncnn_int8"])
def test_the_same_weights_give_the_same_bytes_in_ncnn(source: Source, tmp_path: Path, name: str) -> None:
    pytest.importorskip("pnnx")
    target = target_of(name)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        target.write(source, tmp_path / folder / target.file)
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == sorted([target.file, *target.beside])
    for file in (target.file, *target.beside):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file


def test_both_files_of_ncnn_are_written_or_none(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pnnx")
    result, _ = run(project, tmp_path / "good", "ncnn")
    assert result.failure is None
    written = tmp_path / "good/models/ncnn"
    assert {path.name for path in written.iterdir()} == {"fp16.ncnn.param", "fp16.ncnn.bin", "card.json", "card.md"}
    card = json.loads((written / "card.json").read_text())
    assert card["beside"] == [{"file": "fp16.ncnn.bin", "md5": digest(written / "fp16.ncnn.bin")}]
    assert card["size_mib"] > (written / "fp16.ncnn.bin").stat().st_size / 2**20
    assert (card["input"]["layout"], card["input"]["shape"]) == ("CHW", [3, IMGSZ, IMGSZ])
    accuracies = iter([0.7, 0.6])
    monkeypatch.setattr(deploy, "accuracy_of", lambda *_: MeanPrecision(next(accuracies), 0.9))
    result, _ = run(project, tmp_path / "bad", "ncnn", max_drop=0.05)
    assert result.failure.startswith("ncnn: mAP50-95 0.6000 on val, 0.1000 below FP32 (0.7000)")
    assert not (tmp_path / "bad/models").exists()


def test_a_file_that_loses_too_much_is_not_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.7, 0.69, 0.6])
    monkeypatch.setattr(deploy, "accuracy_of", lambda *_: MeanPrecision(next(accuracies), 0.9))
    result, log = run(project, tmp_path, "onnxruntime", "integer", max_drop=0.05)
    assert result.failure == (
        "integer: mAP50-95 0.6000 on val, 0.1000 below FP32 (0.7000), max_drop allows 0.05: "
        "integer.onnx was not written"
    )
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["onnxruntime"]
    assert "| no |" in (tmp_path / "reports/deploy.md").read_text()
    told = result.metrics["targets"]
    assert (told["onnxruntime"]["written"], told["onnxruntime"]["fault"]) == (True, None)
    assert (told["integer"]["written"], told["integer"]["fault"]) == (False, result.failure)
    assert told["integer"]["drop"] == 0.1
    assert told["integer"]["latency"]["p50_ms"] > 0
    assert result.metrics["fp32"]["latency"]["p50_ms"] > 0
    assert [files for name, _, _, files in log.of("child") if name == "integer"] == [None]


def test_a_file_that_cannot_be_read_back_is_not_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = replace(target_of("onnxruntime"), write=lambda source, file: file.write_bytes(b"spoilt"))
    monkeypatch.setattr(deploy, "target_of", lambda name: spoilt if name == "onnxruntime" else target_of(name))
    result, _ = run(project, tmp_path, "onnxruntime", "integer")
    assert result.failure.startswith("onnxruntime: int8.onnx cannot be read back: ")
    assert "\n" not in result.failure
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["integer"]


def test_an_unknown_target_is_one_line_with_the_known_ones() -> None:
    [(key, fault)] = Deploy(target=["npu", "integer"], max_drop=0.01).contradictions()
    assert (key, fault) == ("target", f"must be a list of {', '.join(NAMES)}, got npu")
    [(key, fault)] = Deploy(target=["integer", "integer"], max_drop=0.01).contradictions()
    assert fault == "must name each target once, got integer more often"


def test_a_network_of_other_classes_is_refused(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "class_names", lambda prepared: ["class 0", "another"])
    with pytest.raises(UserError, match="has the classes class 0, class 1; the dataset has class 0, another"):
        run(project, tmp_path, "integer")


def test_all_missing_packages_are_named_before_anything_is_made(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"openvino needs openvino: pip install .*\[openvino\].*; openvino_amx needs"):
        run(project, tmp_path, "openvino", "openvino_amx", "integer")
    with pytest.raises(UserError, match=r"^ncnn needs ncnn, pnnx: pip install -c constraints.txt -e '.\[ncnn\]'$"):
        run(project, tmp_path, "ncnn")
    monkeypatch.setattr("src.delivery.target.PROJECT", tmp_path)
    with pytest.raises(UserError, match=r"^rknn needs \.venv-rknn: python3\.11 -m venv \.venv-rknn && .* install rknn"):
        run(project, tmp_path, "rknn")
    assert not (tmp_path / "models").exists()


RKNN = """
import os
import sys
import numpy as np
import onnxruntime

class RKNN:
    def __init__(self, verbose):
        print("as the toolkit, on standard output")

    def config(self, mean_values, std_values, target_platform):
        assert (mean_values, std_values, target_platform) == ([[0, 0, 0]], [[255, 255, 255]], "rk3588")
        return 0

    def load_onnx(self, model):
        self.session = onnxruntime.InferenceSession(model)
        return 0

    def build(self, do_quantization, dataset):
        images = open(dataset).read().split()
        assert do_quantization and len(images) == 5 and all(map(os.path.exists, images))
        if "build" in os.environ.get("FAULT", ""):
            print("E build: no layer for Det", "I at all", sep="\\n")
            return -1

    def export_rknn(self, file):
        open(file, "w").write("built")
        return 0

    def init_runtime(self):
        return 0

    def inference(self, inputs, data_format):
        [image] = inputs
        assert data_format == ["nhwc"] and image.dtype == np.uint8
        if "inference" in os.environ.get("FAULT", "") and image.any():
            sys.exit("out of memory")
        return self.session.run(None, {"images": (image.transpose(0, 3, 1, 2) / 255).astype(np.float32)})
"""
"""Stands in for rknn-toolkit2: computes in float."""


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project that has an environment with `RKNN`."""
    (tmp_path / "packages/rknn").mkdir(parents=True)
    (tmp_path / "packages/rknn/api.py").write_text(RKNN)
    python = tmp_path / ENVIRONMENT.python
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/packages exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for module in ("target", "rockchip"):
        monkeypatch.setattr(f"src.delivery.{module}.PROJECT", tmp_path)
    return tmp_path


def test_the_file_of_rknn_is_built_and_simulated_in_its_environment(
    project: Path, source: Source, toolkit: Path
) -> None:
    result, _ = run(project, toolkit / "out", "rknn", max_drop=0.0)
    assert result.failure is None
    written = toolkit / "out/models/rknn"
    assert {path.name for path in written.iterdir()} == {"rk3588.rknn", "card.json", "card.md"}
    card = json.loads((written / "card.json").read_text())
    assert (card["input"]["layout"], card["input"]["shape"]) == ("NHWC", [1, IMGSZ, IMGSZ, 3])
    assert [one["name"] for one in card["outputs"]][:2] == ["boxes_8", "classes_8"]
    boxes, scores = agreement(opened(source, "rknn", toolkit), project)  # the stand-in rounds nothing but pixels
    assert boxes > 0.9999
    assert scores < 1e-4


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        pytest.param("build", "E build: no layer for Det; build failed", id="build"),
        pytest.param("inference", "out of memory", id="in the middle"),
    ],
)
def test_what_rknn_cannot_do_is_one_line(
    project: Path, toolkit: Path, monkeypatch: pytest.MonkeyPatch, fault: str, told: str
) -> None:
    monkeypatch.setenv("FAULT", fault)
    result, _ = run(project, toolkit / "out", "rknn", max_drop=1.0)
    assert result.failure == f"rknn: rknn-toolkit2 ended: {told}"
    assert not (toolkit / "out/models").exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_finds_what_the_network_in_float_finds(
    source: Source, project: Path, tmp_path: Path, name: str
) -> None:
    for package in target_of(name).packages:
        pytest.importorskip(package)
    if (environment := target_of(name).environment) and not (PROJECT / environment.python).exists():
        pytest.skip(f"{environment.folder} is not there")
    boxes, scores = agreement(opened(source, name, tmp_path), project)
    assert boxes > 0.98
    assert scores < 0.01


def test_results_of_openvino_outlive_the_next_pass(source: Source, tmp_path: Path, image: np.ndarray) -> None:
    pytest.importorskip("openvino")
    target_of("openvino").write(source, tmp_path / "int8.onnx")
    file = in_openvino(tmp_path / "int8.onnx", 1)
    first = file(image)
    kept = first.copy()
    assert not np.array_equal(file(1 - image), kept)
    np.testing.assert_array_equal(first, kept)


def test_detections_are_those_of_ultralytics(project: Path) -> None:
    network = project / "models/pruned.onnx"
    images = sorted((project / "data/prepared/images/train").iterdir())
    ours = list(detections_of(in_onnxruntime(network, 1), CLASSES, images, IMGSZ))
    theirs = list(detect(network, images, imgsz=IMGSZ, threads=1))
    assert sum(len(one.scores) for one in theirs) > 0
    for first, second in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(first.boxes_xyxy, second.boxes_xyxy, atol=1e-3)
        np.testing.assert_array_equal(first.classes, second.classes)


def test_no_tensor_of_the_integer_graph_is_float(source: Source) -> None:
    model = integers.integer_graph(source.network, SETTING)
    assert integers.float_tensors(model) == []
    kinds = integers.operators(model)
    assert kinds["QLinearConv"] == 63
    assert not kinds.keys() & {"Conv", "Sigmoid", "Mul", "QuantizeLinear", "DequantizeLinear"}
    assert ends(model) == {onnx.TensorProto.UINT8}


def test_every_operator_of_the_integer_graph_in_qdq_stands_between_conversions(source: Source) -> None:
    model = integers.integer_graph(source.network, SETTING, "qdq")
    assert integers.float_operators(model, "qdq") == []
    assert ends(model) == {onnx.TensorProto.UINT8}
    conversion = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    reader = next(node for node in model.graph.node if conversion.output[0] in node.input)
    for node in model.graph.node:  # one operator is no longer rounded before the next
        for index, name in enumerate(node.input):
            if name == reader.output[0]:
                node.input[index] = conversion.input[0]
    assert integers.float_operators(model, "qdq")


def ends(model: onnx.ModelProto) -> set[int]:
    return {one.type.tensor_type.elem_type for one in (*model.graph.input, *model.graph.output)}


def test_an_operator_that_stays_in_float_is_refused(source: Source) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(source.network.model)
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Tanh"
    with pytest.raises(UserError, match=r"not in integers, these operators compute in float: .*Tanh"):
        integers.integer_graph(replace(source.network, model=model), SETTING)


def test_boxes_and_classes_have_scales_of_their_own(source: Source) -> None:
    levels = integers.read_levels(integers.integer_graph(source.network, SETTING))
    assert len({grid.scale for level in levels for grid in (level.boxes, level.classes)}) == 6


def test_one_scale_for_pixels_and_scores_would_lose_all_scores(project: Path, image: np.ndarray) -> None:
    """The usual export in integers has one output for both."""
    decoded = in_onnxruntime(project / "models/pruned.onnx", 1)(image)
    assert decoded[:, 4:].max() > 0.9
    scale = decoded.max() / 255
    assert (scale * np.rint(decoded / scale))[:, 4:].max() == 0


def test_outputs_on_a_grid_for_pixels_lose_the_boxes(
    source: Source, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits that share the grid of the largest side of an image, 640 px."""
    tensors = dict(source.network.calibration.tensors)
    for name in integers.head_inputs(source.network.model):
        tensors[name] = replace(tensors[name], ranges={SETTING.calibrator: (-640, 640)})
    calibration = replace(source.network.calibration, tensors=tensors)
    shared = replace(source, network=replace(source.network, calibration=calibration))
    monkeypatch.setattr(integers, "LEAST_LOGIT", -640.0)
    boxes, _ = agreement(opened(shared, "integer", tmp_path), project)
    assert boxes < 0.98  # what every file has to reach


def test_the_command_writes_what_passes_and_fails_in_one_line(project: Path, tmp_path: Path, empty_store: Path) -> None:
    for name in ("src", "conf"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "models"):
        (tmp_path / name).symlink_to(project / name)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["common"] |= {"imgsz": IMGSZ, "threads": 1}
    params["eval_int8"]["latency_rounds"] = 1
    params["quantize"]["weight_type"] = "uint8"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    hidden = {"MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"}
    ended = subprocess.run(
        [sys.executable, "-m", "src.deploy", "target=[integer,onnxruntime_avx2]", "max_drop=1"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key not in hidden},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines()[-1] == "error: onnxruntime_avx2: weight_type must be int8, got uint8"
    assert "Traceback" not in ended.stderr
    [output] = (tmp_path / "outputs/deploy").iterdir()
    assert [path.name for path in (output / "models").iterdir()] == ["integer"]
    assert "| onnxruntime_avx2 |" in (output / "reports/deploy.md").read_text()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    [child] = [one for one in runs if "mlflow.parentRunId" in one.data.tags]
    assert child.info.run_name == "integer"
    assert {"drop", "agreement/images_with_detections", "val/map50_95", "latency/p50_ms"} <= child.data.metrics.keys()
    assert {one.path for one in client.list_artifacts(child.info.run_id, "integer")} == {
        "integer/card.json",
        "integer/card.md",
        "integer/integer.onnx",
    }
