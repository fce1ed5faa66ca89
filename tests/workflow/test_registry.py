"""Versions of a model in a real store: the candidate, the gate, the champion, and what MLflow serves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from mlflow import MlflowClient

from src.foundation.digests import digest
from src.foundation.errors import UserError
from src.foundation.pipeline import INT8_ONNX
from src.promote import main
from src.workflow import store, tracking
from src.workflow.registry import MODEL_FILE, promote_version
from tests.quantization.networks import single_convolution
from tests.workflow.test_tracking import free_port

pytestmark = pytest.mark.slow

SAMPLE = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with a store and settings, and nothing recorded."""
    for name in [*store.SETTINGS, "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"]:
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    (tmp_path / "models").mkdir()
    (tmp_path / "params.yaml").write_text("eval_int8:\n  max_drop: 0.03\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "Ann Other")
    git(tmp_path, "config", "user.email", "ann@example.org")
    git(tmp_path, "add", "params.yaml")
    git(tmp_path, "commit", "-qm", "settings")
    return tmp_path


def git(project: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True, text=True).stdout.strip()


def client_of(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def quantized(project: Path, seed: int) -> str:
    """Do what quantize does with `register: detector`; return the id of the run."""
    path = project / INT8_ONNX
    model = single_convolution(seed)[0]
    large = np.zeros(1024, np.float32)  # enough for onnx to write it to a file of its own, if it may
    model.graph.initializer.append(onnx.numpy_helper.from_array(large, "large"))
    onnx.save(model, path)
    path.write_bytes(path.read_bytes() + b"\x08\x08")  # the IR version once more: other bytes than onnx would write
    with tracking.run("quantize", {}, "", project) as log:
        log.onnx_model(path, SAMPLE, registered_name="detector")
        log.link({}, {INT8_ONNX: path})
        assert log.run_id
        return log.run_id


def evaluated(
    project: Path, drop: float, max_drop: float = 0.03, *, measured: bool = True, other_gates_pass: bool = True
) -> str:
    """Do what eval-int8 records of the model in models/; return the id of the run."""
    log = tracking.Run("eval_int8", project)
    log.params({"max_drop": max_drop})
    if measured:
        log.metrics({"int8_drop": {"vs_fp32": drop}})
    log.link({INT8_ONNX: project / INT8_ONNX}, {})
    log.end("FINISHED" if measured and drop <= max_drop and other_gates_pass else "FAILED")
    assert log.run_id
    return log.run_id


def reported(project: Path, drop: float) -> None:
    """Write the report and dvc.lock as a pipeline that ended well."""
    report = project / "reports/eval_int8.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"int8_drop": {"vs_fp32": drop}}))
    deps = [{"path": INT8_ONNX, "md5": digest(project / INT8_ONNX)}]
    outs = [{"path": "reports/eval_int8.json", "md5": digest(report)}]
    (project / "dvc.lock").write_text(json.dumps({"stages": {"eval-int8": {"deps": deps, "outs": outs}}}))


def aliases(project: Path) -> dict[str, int]:
    found = client_of(project).get_registered_model("detector").aliases
    return {alias: int(version) for alias, version in found.items()}


def tags(project: Path, version: int) -> dict[str, str]:
    return dict(client_of(project).get_model_version("detector", str(version)).tags)


def test_the_version_registered_last_is_the_candidate_and_has_the_bytes_of_the_file(project: Path) -> None:
    quantized(project, 0)
    assert aliases(project) == {"candidate": 1}
    quantized(project, 1)
    assert aliases(project) == {"candidate": 2}
    folder = client_of(project).get_model_version_download_uri("detector", "2").removeprefix("file://")
    assert digest(Path(folder) / MODEL_FILE) == digest(project / INT8_ONNX)
    assert {path.name for path in Path(folder).iterdir() if path.suffix not in (".yaml", ".txt")} == {
        "MLmodel",
        MODEL_FILE,
    }


def test_a_version_whose_gate_passed_becomes_the_champion_and_tells_by_whom(project: Path) -> None:
    quantized(project, 0)
    run = evaluated(project, 0.0123)
    verdict = f"INT8 lost 0.0123 of mAP50-95 against ONNX FP32, the gate allows 0.03 (run {run})"
    assert promote_version(project, "detector") == f"detector/1 is the champion: {verdict}\nbefore: none"
    assert aliases(project) == {"candidate": 1, "champion": 1}
    found = tags(project, 1)
    assert found.pop("promoted.at").endswith("+00:00")
    assert found == {
        "promoted.by": "Ann Other",
        "promoted.commit": git(project, "rev-parse", "HEAD"),
        "promoted.dirty": "false",
        "promoted.before": "none",
        "promoted.verdict": verdict,
    }


def test_a_second_promotion_changes_nothing(project: Path) -> None:
    quantized(project, 0)
    evaluated(project, 0.0)
    promote_version(project, "detector@candidate")
    before = tags(project, 1)
    git(project, "config", "user.name", "Somebody Else")
    for asked in ("detector", "detector/1", "detector@champion"):
        assert promote_version(project, asked) == "detector/1 is the champion already: nothing changed"
    assert tags(project, 1) == before


def test_one_can_go_back_to_the_champion_before(project: Path) -> None:
    for seed in range(2):
        quantized(project, seed)
        evaluated(project, 0.01)
        said = promote_version(project, "detector")
    assert said.endswith("\nbefore: detector/1; back to it: python -m src.promote --model detector/1")
    assert (tags(project, 1)["replaced.by"], tags(project, 2)["promoted.before"]) == ("2", "1")
    (project / "params.yaml").write_text("eval_int8:\n  max_drop: 0.02\n")
    assert "before: detector/2;" in promote_version(project, "detector/1")
    assert aliases(project) == {"candidate": 2, "champion": 1}
    assert (tags(project, 1)["promoted.before"], tags(project, 2)["replaced.by"]) == ("2", "1")
    assert not {"replaced.by", "replaced.at"} & set(tags(project, 1))
    assert tags(project, 1)["promoted.dirty"] == "true"


def test_a_version_that_was_not_evaluated_is_refused(project: Path) -> None:
    quantized(project, 0)
    evaluated(project, 0.0)
    reported(project, 0.0)
    run = quantized(project, 1)
    evaluated(project, 0.0, measured=False)
    md5 = digest(project / INT8_ONNX)
    with pytest.raises(
        UserError,
        match=rf"^detector/2: eval-int8 was not run on its bytes \(md5 {md5}\): .*promote {run}`, and run `dvc",
    ):
        promote_version(project, "detector")
    assert aliases(project) == {"candidate": 2}
    assert tags(project, 2) == {}


@pytest.mark.parametrize(
    ("run_allows", "params_allow"),
    [pytest.param(0.03, 0.03, id="failed"), pytest.param(1, 0.03, id="by hand"), pytest.param(0.03, 1, id="later")],
)
def test_a_version_whose_gate_did_not_pass_is_refused(project: Path, run_allows: float, params_allow: float) -> None:
    quantized(project, 0)
    evaluated(project, 0.01)
    evaluated(project, 0.04, run_allows)
    (project / "params.yaml").write_text(f"eval_int8:\n  max_drop: {params_allow}\n")
    with pytest.raises(UserError, match=r"^detector/1: the gate did not pass: INT8 lost 0\.04 .* allows 0\.03 \(run "):
        promote_version(project, "detector")
    assert aliases(project) == {"candidate": 1}


def test_a_version_that_failed_a_gate_of_a_smallest_accuracy_is_refused(project: Path) -> None:
    quantized(project, 0)
    evaluated(project, 0.01, other_gates_pass=False)
    with pytest.raises(UserError, match=r"^detector/1: the gate did not pass: .* another gate failed"):
        promote_version(project, "detector")


def test_without_a_run_the_report_decides_if_it_is_about_these_bytes(project: Path) -> None:
    quantized(project, 0)
    reported(project, 0.02)
    (project / "params.yaml").write_text("eval_int8:\n  max_drop: 0.01\n")
    with pytest.raises(UserError, match=r"lost 0\.02 .* the gate allows 0\.01 \(reports/eval_int8\.json\)"):
        promote_version(project, "detector")
    (project / "params.yaml").write_text("eval_int8:\n  max_drop: 0.03\n")
    report = project / "reports/eval_int8.json"
    written = report.read_text()
    report.write_text(written + " ")
    with pytest.raises(UserError, match="eval-int8 was not run on its bytes"):
        promote_version(project, "detector")
    report.write_text(written)
    assert "allows 0.03 (reports/eval_int8.json)" in promote_version(project, "detector")


@pytest.mark.parametrize("text", ["eval_int8: {}\n", "eval_int8: {max_drop: null}\n", "eval_int8: [\n", None])
def test_settings_without_a_gate_are_refused(project: Path, text: str | None) -> None:
    quantized(project, 0)
    evaluated(project, 0.0)
    settings = project / "params.yaml"
    settings.unlink()
    if text is not None:
        settings.write_text(text)
    with pytest.raises(UserError, match=r"^params\.yaml: expected a number eval_int8\.max_drop, found .*: mend it$"):
        promote_version(project, "detector")


@pytest.mark.parametrize("asked", ["other", "detector/7", "detector/x", "detector@prod", "detector/"])
def test_an_unknown_version_is_refused(project: Path, asked: str) -> None:
    quantized(project, 0)
    with pytest.raises(UserError, match=rf"^{asked}: not in the registry of sqlite:.* of a model there \(detector\)"):
        promote_version(project, asked)


def test_a_version_whose_file_is_gone_is_refused(project: Path) -> None:
    quantized(project, 0)
    evaluated(project, 0.0)
    shutil.rmtree(project / "mlruns")
    with pytest.raises(UserError, match=r"^detector/1: its file model\.onnx cannot be read from .*: put it back"):
        promote_version(project, "detector")


def test_a_moved_project_finds_the_file_of_a_version(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    quantized(project, 0)
    evaluated(project, 0.0)
    other = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.move(project, other)
    assert promote_version(other, "detector").startswith("detector/1 is the champion")


def test_a_refusal_is_one_line_and_exit_code_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quantized(project, 0)
    monkeypatch.setattr("src.promote.PROJECT", project)
    monkeypatch.setattr("sys.argv", ["promote", "--model", "detector"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert str(ended.value.code).startswith("error: detector/1: eval-int8 was not run")
    assert "\n" not in str(ended.value.code)
    evaluated(project, 0.0)
    main()
    assert "detector/1 is the champion" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["run", "--model", "detector"], ["--model", "detector", "--check"]])
def test_a_run_or_a_model_is_named(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr("sys.argv", ["promote", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()


def test_mlflow_serves_the_numbers_of_the_file(project: Path, tmp_path: Path) -> None:
    quantized(project, 0)
    evaluated(project, 0.0)
    promote_version(project, "detector")
    session = onnxruntime.InferenceSession(project / INT8_ONNX, providers=["CPUExecutionProvider"])
    [expected] = session.run(None, {"x": SAMPLE})

    port = free_port()
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/detector@champion"]
    serve += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    tracking_uri = f"sqlite:///{project / 'mlflow.db'}"
    elsewhere = tmp_path / "elsewhere"  # without the project's code
    elsewhere.mkdir()
    server = subprocess.Popen(
        serve,
        cwd=elsewhere,
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking_uri, "PYTHONPATH": ""},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        answer = answered(server, f"http://127.0.0.1:{port}/invocations", {"inputs": {"x": SAMPLE.tolist()}})
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    np.testing.assert_array_equal(np.asarray(answer["predictions"]["y"], np.float32), expected)


def answered(server: subprocess.Popen[bytes], url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of a server that is still starting."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    for _ in range(300):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(1)
    raise AssertionError("the server did not answer")
