"""Tracking with real stores: SQLite, and servers that die, hang or do not exist."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from src.foundation.digests import MANIFEST, digest
from src.workflow import store, tracking
from src.workflow.abandoned import HOST_TAG, PROCESS_TAG, process_tags

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*store.SETTINGS, "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in store.SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def project(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def client_of(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def runs_of(client: MlflowClient) -> list[Run]:
    """Return every run of the experiment, oldest first."""
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    assert experiment
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


def test_importing_the_module_does_not_import_mlflow() -> None:
    code = "import sys, src.workflow.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 0


def test_logged_values_are_in_the_store(project: Path) -> None:
    (project / "plots").mkdir()
    (project / "plots" / "loss.txt").write_text("falling")
    params = {"T": 2.0, "augmentation": {"mosaic": 0.5}, "strict": False, "weights": None, "optimizer": "AdamW"}

    with tracking.run("distill", params, "T: 2.0\n", project) as log:
        log.metrics({"map50_95": 0.25}, step=1)
        log.metrics({"map50_95": 0.5, "per_class": {"a (b)": 1}, "machine": "any"}, step=2)
        log.artifact(project / "plots" / "loss.txt", folder="plots")
        log.dataset("digits", "0" * 32, "data/prepared", {"images": 3})

    client = client_of(project)
    (found,) = runs_of(client)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "distill"
    assert found.data.params == {
        "T": "2.0", "augmentation.mosaic": "0.5", "strict": "false", "weights": "null", "optimizer": "AdamW",
    }  # fmt: skip
    assert found.data.metrics == {"map50_95": 0.5, "per_class/a :28:b:29:": 1.0}
    history = client.get_metric_history(found.info.run_id, "map50_95")
    assert [(m.step, m.value) for m in history] == [(1, 0.25), (2, 0.5)]
    assert found.data.tags["stage"] == "distill"
    assert found.inputs
    assert found.inputs.dataset_inputs[0].dataset.digest == "0" * 32
    kept = Path(client.download_artifacts(found.info.run_id, "", str(project)))
    assert (kept / "config.yaml").read_text() == "T: 2.0\n"
    assert (kept / "plots" / "loss.txt").read_text() == "falling"


def test_every_class_has_its_metric_whatever_its_name(project: Path) -> None:
    names = [
        "..",
        ".",
        "...",
        "../../x",
        "/a",
        "a//b",
        "a?",
        "a*",
        "a_",
        "x" * 260,
        "x" * 259 + "y",
        "été",
        " ",
        "\n",
        "😀",
    ]
    names += [f"c{index}" for index in range(1203)]
    with tracking.run("eval_int8", {}, "", project) as log:
        log.metrics({"int8": {"per_class": {name: {"map50": index} for index, name in enumerate(names)}}, "map50": -1})

    (found,) = runs_of(client_of(project))
    assert sorted(found.data.metrics.values()) == list(range(-1, len(names)))
    assert found.data.metrics["int8/per_class/été/map50"] == names.index("été")


def test_more_values_than_one_request_allows(project: Path) -> None:
    with tracking.run("distill", {f"p{i}": i for i in range(150)}, "", project) as log:
        log.metrics({f"m{i}": i for i in range(1200)})

    (found,) = runs_of(client_of(project))
    assert len(found.data.params) == 150
    assert len(found.data.metrics) == 1200


ODD_NAMES = [
    *(
        ".",
        "..",
        "...",
        "",
        "/",
        "a/b",
        "a//b",
        "/a",
        "a/",
        "../a",
        "%",
        "#",
        ":",
        "a:2f:b",
        ":2e:",
        "::",
        "=cmd()",
        "|",
    ),
    *("<img>", "\x1b[31m", "a\nb", "a\tb", " a", "a ", "\udc80", "日本", "x" * 260, "x" * 259 + "y", "%" * 260),
]


def test_class_names_of_any_kind_lose_no_metric(project: Path) -> None:
    with tracking.run("eval_int8", {}, "", project) as log:
        log.metrics({"val": {"map50_95": 0.5, "per_class": {name: {"map50": i} for i, name in enumerate(ODD_NAMES)}}})

    (found,) = runs_of(client_of(project))
    metrics = dict(found.data.metrics)
    assert metrics.pop("val/map50_95") == 0.5
    assert sorted(metrics.values()) == list(range(len(ODD_NAMES)))
    assert metrics["val/per_class/日本/map50"] == ODD_NAMES.index("日本")


def test_texts_above_the_limits_are_cut_with_a_mark(project: Path) -> None:
    with tracking.run("distill", {"whole": "a" * 6000, "long": "a" * 6001}, "", project, name="n" * 251) as log:
        log.tags({"long": "a" * 8001})

    (found,) = runs_of(client_of(project))
    mark = re.compile(r"(a+|n+)\.\.\. \(cut: (\d+) characters, md5 [0-9a-f]{32}\)")
    assert found.data.params["whole"] == "a" * 6000
    for text, length, longest in (
        (found.data.params["long"], 6001, 6000),
        (found.data.tags["long"], 8001, 8000),
        (found.info.run_name, 251, 250),
    ):
        cut = mark.fullmatch(text)
        assert cut
        assert (int(cut[2]), len(text)) == (length, longest)


def test_a_deleted_experiment_costs_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything(project)
    client = client_of(project)
    (first,) = runs_of(client)
    client.delete_experiment(first.info.experiment_id)
    everything(project)
    [line] = capsys.readouterr().err.splitlines()
    assert "Missing: artifacts (config.yaml, report.md), metrics (12 values), params (1 values), run (distill)" in line
    assert f"'shrink' is deleted: restore it with `mlflow experiments restore -x {first.info.experiment_id}`" in line


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "copied"])
def test_a_moved_or_copied_project_has_its_own_artifacts(
    tmp_path: Path, empty_store: Path, caplog: pytest.LogCaptureFixture, moved: bool
) -> None:
    original, other = tmp_path / "a", tmp_path / "b"
    original.mkdir()
    shutil.copy(empty_store, original / "mlflow.db")
    with tracking.run("quantize", {"T": 1}, "T: 1\n", original) as log:
        log.onnx_model(onnx_that_doubles(original), np.ones((1, 3, 4, 4), np.float32), registered_name="detector")
    client_of(original).create_experiment("of somebody else", (tmp_path / "elsewhere/mlruns").as_uri())
    (shutil.move if moved else shutil.copytree)(original, other)
    before = sorted(original.rglob("*"))
    with tracking.run("prune", {}, "ratio: 0.5\n", other):
        pass

    assert sorted(original.rglob("*")) == before, "nothing is written to the folder of the original"
    client = client_of(other)
    first, second = runs_of(client)
    for run in (first, second):
        assert run.info.artifact_uri.startswith((other / "mlruns").as_uri())
        assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["config.yaml"]
    assert first.outputs
    model = client.get_logged_model(first.outputs.model_outputs[0].model_id)
    version = client.get_model_version("detector", "1")
    for location in (model.artifact_location, version.source):
        assert location.startswith((other / "mlruns").as_uri())
    untouched = client.get_experiment_by_name("of somebody else")
    assert untouched
    assert untouched.artifact_location == (tmp_path / "elsewhere/mlruns").as_uri()
    told = [record.getMessage() for record in caplog.records if "moved or copied" in record.getMessage()]
    assert len(told) == 1
    with tracking.run("prune", {}, "ratio: 0.5\n", other):
        pass
    assert sum("moved or copied" in record.getMessage() for record in caplog.records) == 1, "the store has followed"


def test_a_store_that_another_process_holds_costs_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}?timeout=0.1")
    with sqlite3.connect(project / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        everything(project)
        other.execute("ROLLBACK")
    [line] = capsys.readouterr().err.splitlines()
    assert "did not record all of run 'distill'. Missing: artifacts (config.yaml, report.md), metrics" in line, line
    assert "database is locked" in line


def test_a_store_that_another_process_held_for_a_while_is_whole(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = sqlite3.connect(project / "mlflow.db", isolation_level=None, check_same_thread=False)
    with closing(other), tracking.run("distill", {"T": 1}, "T: 1\n", project) as log:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.3, other.execute, ["ROLLBACK"]).start()
        log.metrics({"map50_95": 0.5})
        log.tags({"precision": "float32"})
    assert capsys.readouterr().err == ""
    (found,) = runs_of(client_of(project))
    assert found.data.metrics["map50_95"] == 0.5
    assert found.data.tags["precision"] == "float32"
    assert found.info.status == "FINISHED"


@pytest.mark.parametrize(
    "uri",
    [
        "http://zoe:hunt@moon@127.0.0.1:9",
        "http://zoe:hunt/moon@127.0.0.1:9",
        "http://zoe:12/moon@127.0.0.1:9",
        "http://zoe:hunt#moon@127.0.0.1:9",
        "http://zoe:hunt@er/moon@127.0.0.1:9",
        "postgresql://zoe:hunt@moon@127.0.0.1:9/db",
        "postgresql://zoe:hunt/moon@127.0.0.1:9/db",
        "http://zoe:hunt%2Fmoon@127.0.0.1:9",
    ],
)
def test_no_password_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    everything(tmp_path)
    [line] = capsys.readouterr().err.splitlines()
    assert not [word for word in ("zoe", "hunt", "moon") if word in line]
    clear = "%2F" in uri or uri == "http://zoe:hunt@moon@127.0.0.1:9"
    assert ("write @ as %40, / as %2F" in line) != clear


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(ValueError("a bad value\nsecond line"), "FAILED", id="an exception fails the run"),
        pytest.param(KeyboardInterrupt(), "KILLED", id="ctrl-C kills it"),
    ],
)
def test_an_exception_of_the_stage_is_raised_again(project: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)) as caught, tracking.run("prune", {}, "", project):
        raise error

    assert caught.value is error
    (found,) = runs_of(client_of(project))
    assert found.info.status == status
    assert "\n" not in found.data.tags["error"]


def test_only_runs_of_dead_processes_of_this_machine_are_closed(project: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ended.wait()
    long_ago_ms = 1000
    tags = {
        "dead": {**process_tags(), PROCESS_TAG: str(ended.pid)},
        "living": {**process_tags(), PROCESS_TAG: str(living.pid)},
        "of a process whose number was given again": {**process_tags(), PROCESS_TAG: str(living.pid)},
        "elsewhere": {HOST_TAG: "another machine", PROCESS_TAG: str(ended.pid)},
        "of earlier code": {},
    }
    client = client_of(project)
    tracking.Run("distill", project).end("FINISHED")  # makes the experiment
    (first,) = runs_of(client)
    for name, of_process in tags.items():
        start_ms = long_ago_ms if "again" in name else int(1000 * time.time())
        client.create_run(first.info.experiment_id, start_ms, of_process, name)

    with tracking.run("prune", {}, "", project):
        pass
    living.communicate(b"\n")
    found = {run.info.run_name: run for run in runs_of(client)}
    killed = {"dead", "of a process whose number was given again"}
    assert {name for name, run in found.items() if run.info.status == "KILLED"} == killed
    assert {name for name, run in found.items() if run.info.status == "RUNNING"} == tags.keys() - killed
    assert found["dead"].data.tags["error"] == "its process ended without closing the run"


def test_a_run_that_continues_another_takes_over_its_children(project: Path) -> None:
    earlier = tracking.Run("distill", project)
    earlier.child("T=1", {}, {})
    later = tracking.Run("distill", project)
    assert earlier.run_id
    later.take_over(earlier.run_id)
    children = later.children()
    assert children is not None
    assert [child.name for child in children] == ["T=1"]
    assert earlier.children() == []
    left = client_of(project).get_run(earlier.run_id)
    assert (left.info.status, left.data.tags["continued_by"]) == ("KILLED", later.run_id)
    later.end("FINISHED")


def test_a_step_is_passed_on_after_it_is_recorded(project: Path) -> None:
    seen = []
    with tracking.run("distill", {}, "", project) as log:
        log.on_step = lambda values, step: seen.append((dict(values), step))
        log.metrics({"epoch": {"map50_95": 0.25}}, step=2)
        log.metrics({"val": {"map50_95": 0.5}})
    assert seen == [({"epoch": {"map50_95": 0.25}}, 2)]


def test_runs_of_a_dvc_experiment_outlive_its_temporary_copy(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path_factory.mktemp("copy")
    monkeypatch.setenv("DVC_ROOT", str(project))  # DVC sets it to the main checkout, also in a copy
    monkeypatch.setenv("DVC_EXP_NAME", "dural-tics")
    with tracking.run("prune", {}, "ratio: 0.5\n", copy):
        pass
    shutil.rmtree(copy)

    client = client_of(project)
    (found,) = runs_of(client)
    assert found.info.run_name == "prune dural-tics"
    assert found.data.tags["dvc.experiment"] == "dural-tics"
    assert found.info.artifact_uri.startswith((project / "mlruns").as_uri())
    assert [a.path for a in client.list_artifacts(found.info.run_id)] == ["config.yaml"]


def test_a_run_links_to_the_runs_that_wrote_its_inputs(project: Path) -> None:
    teacher, student, elsewhere = project / "teacher.pt", project / "student.pt", project / "other.pt"
    for path in (teacher, student, elsewhere):
        path.write_text(path.name)
    prepared = project / "prepared"
    prepared.mkdir()
    (prepared / MANIFEST).write_text("a")

    with tracking.run("prepare_labels", {}, "", project) as log:
        log.link({}, {"data/prepared": prepared})
        data_run = log.run_id
    for _ in range(2):  # the same bytes twice: the newest run counts
        with tracking.run("train_teacher", {}, "", project) as log:
            log.link({"data/prepared": prepared}, {"models/teacher.pt": teacher})
            teacher_run = log.run_id
    with tracking.run("distill", {}, "", project) as log:
        log.link({"models/teacher.pt": teacher, "models/other.pt": elsewhere}, {"models/student.pt": student})

    *_, above, last = runs_of(client_of(project))
    assert above.data.tags["upstream.data/prepared"] == data_run
    assert last.data.tags["output.models/student.pt"] == digest(student)
    assert last.data.tags["upstream.models/teacher.pt"] == teacher_run
    assert "upstream.models/other.pt" not in last.data.tags
    note = last.data.tags["mlflow.note.content"]
    assert f"[train_teacher](#/experiments/{last.info.experiment_id}/runs/{teacher_run})" in note
    assert "`models/other.pt` (md5 " in note


def test_the_warning_names_a_missing_output(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tracking.run("distill", {}, "", project) as log:
        log.link({}, {"reports/plots": project / "plots"})
    assert "digests (reports/plots)" in capsys.readouterr().err


def onnx_that_doubles(folder: Path) -> Path:
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        twice (float[N, 3, 4, 4] images) => (float[N, 3, 4, 4] output0) { output0 = Add(images, images) }"""
    )
    onnx.save(graph, folder / "int8.onnx")
    return folder / "int8.onnx"


def test_the_logged_onnx_model_loads_and_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_that_doubles(project)
    sample = np.ones((2, 3, 4, 4), dtype=np.float32)
    for _ in range(2):
        with tracking.run("quantize", {}, "", project) as log:
            log.onnx_model(path, sample, registered_name="detector")

    client = client_of(project)
    assert [v.version for v in client.search_model_versions("name = 'detector'")] == [2, 1]
    *_, found = runs_of(client)
    assert found.outputs
    model_id = found.outputs.model_outputs[0].model_id
    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{model_id}")
        assert mlflow.pyfunc.load_model("models:/detector/2").metadata.run_id == found.info.run_id
        assert mlflow.onnx.load_model(f"models:/{model_id}").graph.name == "twice"
    finally:
        mlflow.set_tracking_uri(previous)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert loaded.metadata.signature.inputs.input_names() == ["images"]
    np.testing.assert_array_equal(loaded.predict({"images": sample})["output0"], 2 * sample)


def test_six_processes_at_once_on_a_store_that_does_not_exist(tmp_path: Path) -> None:
    # Forked after the slow import of MLflow, so that all processes reach the store at the same moment.
    code = """
import multiprocessing, sys, mlflow
from pathlib import Path
from src.workflow import store, tracking
from src.workflow.abandoned import HOST_TAG, PROCESS_TAG, process_tags

def job(number):
    with tracking.run("distill", {}, "", Path(sys.argv[1])) as log:
        log.metrics({"map50_95": 0.5})

started = [multiprocessing.get_context("fork").Process(target=job, args=(n,)) for n in range(6)]
for process in started: process.start()
for process in started: process.join()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120, check=True)

    assert done.stderr == ""
    runs = runs_of(client_of(tmp_path))
    assert [(r.info.status, r.data.metrics["map50_95"]) for r in runs] == [("FINISHED", 0.5)] * 6


def everything(project: Path) -> None:
    """Run a small stage that logs params, metrics and artifacts."""
    (project / "report.md").write_text("# Report")
    with tracking.run("distill", {"T": 1}, "T: 1\n", project) as log:
        for epoch in range(6):
            log.metrics({"map50_95": epoch / 10, "loss": 1.0}, step=epoch)
        log.artifact(project / "report.md")


def test_an_unreachable_server_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    started_s = time.monotonic()
    everything(tmp_path)

    assert time.monotonic() - started_s < 5
    stderr = capsys.readouterr().err
    assert stderr.count("warning") == 1
    assert "metrics (12 values)" in stderr
    assert "artifacts (config.yaml, report.md)" in stderr
    assert "secret" not in stderr


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in accepted:
            connection.close()


def test_a_server_that_hangs_costs_two_timeouts_at_most(
    tmp_path: Path, silent_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")  # 5 s by default
    started_s = time.monotonic()
    everything(tmp_path)

    assert 4 <= time.monotonic() - started_s < 6
    assert "metrics (12 values)" in capsys.readouterr().err


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def start_server(project: Path, port: int) -> subprocess.Popen[bytes]:
    store = f"sqlite:///{project / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(project / "served")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # one process fewer to wait for
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=project, env=environment, stdout=quiet, stderr=quiet)
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).close()
            return server
        except OSError:
            time.sleep(0.1)
    server.terminate()
    pytest.fail("the MLflow server did not start within 60 s")


def test_a_server_that_dies_during_a_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a cold server on a busy machine is slow, not down
    server = start_server(project, port)
    started_s = time.monotonic()
    try:
        with tracking.run("distill", {"T": 1}, "T: 1\n", project) as log:
            log.metrics({"map50_95": 0.1}, step=1)
            log.onnx_model(onnx_that_doubles(project), np.ones((1, 3, 4, 4), np.float32), registered_name="detector")
            server.terminate()
            server.wait(30)
            log.metrics({"map50_95": 0.2}, step=2)
            log.text("x", "report.md")
    finally:
        server.kill()

    assert time.monotonic() - started_s < 30
    stderr = capsys.readouterr().err
    assert "metrics (1 values)" in stderr
    assert "artifacts (report.md)" in stderr
    assert "params" not in stderr
    assert "models" not in stderr
    (found,) = runs_of(client_of(project))
    assert found.data.metrics == {"map50_95": 0.1}
    assert [v.run_id for v in client_of(project).search_model_versions("name = 'detector'")] == [found.info.run_id]


def test_a_failed_call_is_repeated_at_the_end(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OSError("gone")

    with tracking.run("distill", {}, "", project) as log:
        monkeypatch.setattr(MlflowClient, "log_batch", gone)
        log.metrics({"map50_95": 0.5}, step=3)
        monkeypatch.undo()
    (found,) = runs_of(client_of(project))
    assert found.data.metrics == {"map50_95": 0.5}
    assert found.info.status == "FINISHED"
    assert capsys.readouterr().err == ""


def test_a_child_is_recorded_as_a_finished_run(project: Path) -> None:
    run = tracking.Run("quantize", project)
    run.child("calibrator=mse", {"calibrator": "mse", "float_layers": 2}, {"val": {"map50_95": 0.5}})
    run.end("FINISHED")
    parent, child = runs_of(client_of(project))
    assert child.info.run_name == "calibrator=mse"
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["stage"] == "quantize"
    assert child.data.params == {"calibrator": "mse", "float_layers": "2"}
    assert child.data.metrics == {"val/map50_95": 0.5}
