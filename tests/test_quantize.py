from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from src import PROJECT, calibrate, quantize
from src.config.augmentation import Augmentation
from src.config.composition import register, typed
from src.config.distillation import Distillation
from src.config.quantize import Quantize
from src.deployment.forwards import HAS_OPENVINO
from src.detector.accuracy import Accuracy, validate
from src.foundation.errors import UserError
from src.quantization.ranges.calibrators import CALIBRATORS
from src.workflow.stage_files import StageFiles
from tests.quantization.networks import IMGSZ, LEVELS, Log, random_images, tiny_project
from tests.stages import trained_with
from tests.test_calibrate import PARAMS as CALIBRATE

pytestmark = pytest.mark.slow

PARAMS = Quantize(
    imgsz=IMGSZ,
    device="cpu",
    threads=1,
    precision="float32",
    workers=0,
    method="static",
    calibrator="minmax",
    target="onnxruntime",
    format="qdq",
    activation_type="uint8",
    weight_type="int8",
    per_channel=True,
    symmetric_activations=False,
    symmetric_weights=True,
    float_head=True,
    bias_correction=False,
    float_layers=0,
    sensitivity=False,
    sensitivity_images=2,
    max_drop=None,
    register="shrunk",
    seed=0,
    T=1.0,
    alpha=0.5,
    cache="never",
    cache_gib=1.0,
    distillation=Distillation(response=1.0, localization=1.0),
    epochs=1,
    batch=4,
    optimizer="AdamW",
    lr0=0.001,
    lrf=0.01,
    weight_decay=0.0005,
    warmup_epochs=0.0,
    patience=100,
    augmentation=Augmentation(
        hsv_h=0.0,
        hsv_s=0.0,
        hsv_v=0.0,
        degrees=0.0,
        translate=0.1,
        scale=0.1,
        fliplr=0.0,
        flipud=0.0,
        mosaic=0.0,
        close_mosaic=0,
        mixup=0.0,
    ),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_project(tmp_path_factory.mktemp("quantize"))
    calibrate.run(CALIBRATE, StageFiles("calibrate", root, root), Log())
    return root


def test_quantize_writes_an_integer_network_that_ultralytics_can_use(project: Path) -> None:
    log = Log()
    metrics = quantize.run(PARAMS, StageFiles("quantize", project, project), log).metrics
    assert metrics["convolutions"] == metrics["integer_convolutions"] + LEVELS  # DFL, which is not learned
    assert metrics["size_mib"] < 0.3 * metrics["fp32_size_mib"]
    assert 0 <= metrics["val"]["map50_95"] <= metrics["val"]["map50"] <= 1
    [(logged, *_)] = log.of("metrics")
    latency = logged["latency"]
    assert ("openvino" in latency) == HAS_OPENVINO
    for times in (latency, latency["openvino"]) if HAS_OPENVINO else (latency,):
        assert times["speedup"] == pytest.approx(times["fp32_p50_ms"] / times["int8_p50_ms"], abs=0.001)
    assert "latency" not in metrics, "a report is the same on every run"
    [(path, sample, registered_name)] = log.of("onnx_model")
    assert (path.name, sample.shape, registered_name) == ("int8.onnx", (1, 3, IMGSZ, IMGSZ), "shrunk")

    from ultralytics import YOLO

    [image] = random_images(project / "elsewhere", 1)
    [result] = YOLO(project / "models/int8.onnx", task="detect").predict(str(image), imgsz=IMGSZ, verbose=False)
    assert result.names == {0: "class 0", 1: "class 1"}


def test_a_network_that_was_not_calibrated_is_refused(project: Path, tmp_path: Path) -> None:
    network = project / "models/pruned.onnx"
    calibrated = network.read_bytes()
    network.write_bytes(calibrated + b" ")
    try:
        with pytest.raises(UserError, match=r"calibration\.json: expected the ranges of pruned\.onnx"):
            quantize.run(PARAMS, StageFiles("quantize", project, tmp_path), Log())
    finally:
        network.write_bytes(calibrated)
    assert not (tmp_path / "models/int8.onnx").exists()


def test_the_most_sensitive_layers_are_left_in_float_and_reported(project: Path, tmp_path: Path) -> None:
    params = replace(PARAMS, float_layers=2)
    metrics = quantize.run(params, StageFiles("quantize", project, tmp_path), Log()).metrics
    assert metrics["convolutions"] - metrics["integer_convolutions"] == LEVELS + 2
    table = pd.read_csv(tmp_path / "reports/quantize/sensitivity.csv")
    assert len(table) == metrics["convolutions"] - LEVELS
    assert table["sqnr_db"].is_monotonic_increasing
    assert (tmp_path / "reports/quantize/sensitivity.png").stat().st_size < 200_000


def test_bias_correction_changes_only_biases(project: Path, tmp_path: Path) -> None:
    networks = {}
    for corrected in (False, True):
        root = tmp_path / str(corrected)
        quantize.run(replace(PARAMS, bias_correction=corrected), StageFiles("quantize", project, root), Log())
        networks[corrected] = onnx.load(root / "models/int8.onnx")
    plain, moved = (
        {t.name: t.raw_data for t in networks[c].graph.initializer if not t.name.endswith("_scale")} for c in networks
    )
    changed = {name for name in plain if plain[name] != moved[name]}
    assert changed
    assert all("bias" in name for name in changed)


def test_a_budget_that_the_first_setting_meets_takes_one_try(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: list[str] = []

    def seen(detector: Path, data_yaml: Path, *, split: str, **options: Any) -> Accuracy:
        splits.append(split)
        return validate(detector, data_yaml, split=split, **options)

    monkeypatch.setattr(quantize, "validate", seen)
    log = Log()
    metrics = quantize.run(replace(PARAMS, max_drop=1.0), StageFiles("quantize", project, tmp_path), log).metrics
    assert splits == ["val"] * 3, "of FP32, of the try and of the result"
    assert [digest[-1] for digest in log.of("dataset")] == [{"split": "val"}]
    assert metrics["tries"] == 1
    [(name, params, _)] = log.of("child")
    assert name == "calibrator=minmax,per_channel=True,symmetric_activations=False,float_layers=0,trained=False"
    assert params["calibrator"] == "minmax"
    assert len(pd.read_csv(tmp_path / "reports/quantize/tries.csv")) == 1


@pytest.mark.parametrize("method", ["qat", "tuned"])
def test_methods_with_training_write_an_integer_network(
    project: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    criteria = trained_with(monkeypatch)
    quantize.run(PARAMS, StageFiles("quantize", project, tmp_path / "without"), Log())
    log = Log()
    metrics = quantize.run(
        replace(PARAMS, method=method), StageFiles("quantize", project, tmp_path / "with"), log
    ).metrics
    assert metrics["convolutions"] == metrics["integer_convolutions"] + LEVELS
    networks = [onnx.load(tmp_path / folder / "models/int8.onnx") for folder in ("without", "with")]
    plain, trained = ([node.op_type for node in network.graph.node] for network in networks)
    assert plain == trained
    assert networks[0].SerializeToString() != networks[1].SerializeToString()
    [(name, recorded, _)] = log.of("child")
    assert name == f"{method}-minmax-per_channel=True-symmetric=False-float_layers=0"
    assert recorded["epochs"] == 1
    [criterion] = criteria
    assert criterion is not None, "the float network teaches"
    assert {path.suffix for path, folder in log.of("artifact") if folder == "on_the_way"} == {".pt", ".csv", ".png"}


def test_a_budget_that_no_setting_meets_ends_with_training(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def score(path: Path, **_: object) -> Accuracy:
        map50_95 = 0.5 if path.name == "pruned.onnx" else 0.4
        return Accuracy(map50_95=map50_95, map50=0.5, precision=0.5, recall=0.5, per_class={})

    monkeypatch.setattr(quantize, "validate", score)
    params = replace(PARAMS, max_drop=0.01, float_layers=16)
    log = Log()
    metrics = quantize.run(params, StageFiles("quantize", project, tmp_path), log).metrics
    table = pd.read_csv(tmp_path / "reports/quantize/tries.csv")
    assert metrics["tries"] == len(table) == len(CALIBRATORS) + 3
    assert table["trained"].tolist() == [False] * (len(table) - 1) + [True]
    assert (table["drop"] == 0.1).all()
    assert "max_drop=0.01 does not hold: the best of 8 settings loses 0.1" in caplog.text


@pytest.mark.parametrize(("method", "size"), [("dynamic", 0.35), ("fp16", 0.55), ("int4", 0.25)])
def test_controls_need_no_ranges(project: Path, tmp_path: Path, method: str, size: float) -> None:
    metrics = quantize.run(replace(PARAMS, method=method), StageFiles("quantize", project, tmp_path), Log()).metrics
    assert metrics["size_mib"] < size * metrics["fp32_size_mib"]
    assert metrics["integer_convolutions"] == (metrics["convolutions"] - 1 if method == "dynamic" else 0)
    assert metrics["tries"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "fp16", "max_drop": 0.01}, "max_drop has no meaning for method=fp16: .* choose static or qat"),
        ({"method": "tuned", "max_drop": 0.01}, "max_drop has no meaning for method=tuned"),
        ({"method": "dynamic", "bias_correction": True}, "bias_correction has no meaning for method=dynamic"),
        ({"method": "int4", "float_layers": 1}, "float_layers has no meaning for method=int4"),
        ({"method": "int4", "sensitivity": True}, "sensitivity has no meaning for method=int4"),
        ({"register": "team/detector"}, "register must be a name without /, : and @, or null, got 'team/detector'"),
        ({"register": "detector@champion"}, "register must be a name without /, : and @"),
        ({"register": "' '"}, "register must be a name"),
        ({"symmetric_weights": False}, "symmetric_weights must be true where per_channel is true"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    register()
    with pytest.raises(UserError, match=message), initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        typed("quantize", compose("quantize", [f"{key}={value}" for key, value in settings.items()]))


def test_more_layers_in_float_than_there_are_is_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"float_layers must be at most \d+, the number of layers, got 1000"):
        quantize.run(replace(PARAMS, float_layers=1000), StageFiles("quantize", project, tmp_path), Log())
    assert not (tmp_path / "models/int8.onnx").exists()
