from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from hydra import initialize_config_dir

from src import PROJECT
from src.config.composition import register
from src.foundation.errors import SettingError
from src.searching import timing
from src.searching.candidates import Candidate, Network
from src.searching.settings import settings_of
from src.searching.timing import expect_runtimes, timed

SILU, RELU = Network("yolov8n", None, 64, 0.0), Network("yolov8n", "relu", 64, 0.5)
CLASSES = 10


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        yield


def test_a_target_whose_runtime_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "HAS_OPENVINO", False)
    expect_runtimes(["onnxruntime"])
    with pytest.raises(SettingError, match="target openvino_amx: OpenVINO is not installed"):
        expect_runtimes(["onnxruntime", "openvino_amx"])


@pytest.mark.slow
def test_an_untrained_candidate_has_the_form_of_a_trained_one(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of("eval_int8", ["latency_rounds=2"]).params
    candidates = [Candidate(SILU, "onnxruntime"), Candidate(RELU, "onnxruntime")]
    found = timed(candidates, prepared, tmp_path, settings)
    assert list(found.costs) == candidates
    small, large = found.costs[candidates[1]], found.costs[candidates[0]]
    assert 0 < small.mib < large.mib
    assert found.arithmetic[SILU].student_gflops == found.arithmetic[SILU].pruned_gflops
    assert found.arithmetic[RELU].student_gflops > 2 * found.arithmetic[RELU].pruned_gflops
    models = [onnx.load(path) for path in tmp_path.glob("untrained-*/onnxruntime.onnx")]
    sigmoids = [sum(node.op_type == "Sigmoid" for node in model.graph.node) for model in models]
    assert min(sigmoids) == 3 < max(sigmoids), "with ReLU only the scores of the three levels have one"
    relu = models[sigmoids.index(min(sigmoids))]
    assert relu.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 4 + CLASSES
    (table,) = tmp_path.glob("latency-*.json")
    assert json.loads(table.read_text())[0]["mib"] == large.mib

    monkeypatch.setattr(timing, "write_untrained", lambda *arguments: pytest.fail("made again"))
    monkeypatch.setattr(timing, "measured", lambda *arguments: pytest.fail("timed again"))
    assert timed(candidates, prepared, tmp_path, settings) == found
