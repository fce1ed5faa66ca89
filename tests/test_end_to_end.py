"""The whole pipeline in miniature: `dvc repro` in a copy of the project, then a sweep, both looked up in MLflow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from ultralytics import YOLO

from src import PROJECT
from src.config.stages import PER_TARGET, STAGES

pytestmark = pytest.mark.slow

TINY = {
    "common": {"imgsz": 64, "threads": 1},
    "train_teacher": {"epochs": 1, "batch": 8},
    "distill": {"epochs": 1, "batch": 8},
    "prune": {"epochs": 1, "batch": 8},
    "calibrate": {"images": 4, "bins": 256},
    "eval_int8": {"latency_rounds": 2, "pictures": 1, "max_drop": 1.0},
    "deploy": {"target": ["integer"], "max_drop": 1.0},
}
TINY_SCENES = {"train_images": 16, "val_images": 6, "test_images": 6, "size_px": 64, "most_digits": 4}
LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local"],  # what a Slurm cluster runs, in processes of this machine
    "ray": ["hydra/launcher=ray"],  # its local cluster; where the plugin is installed: constraints.txt cannot have it
}
UPSTREAM = {
    "train_teacher": {"data/prepared": "prepare_labels"},
    "distill": {"data/prepared": "prepare_labels", "models/teacher.pt": "train_teacher"},
    "prune": {"models/teacher.pt": "train_teacher", "models/student.pt": "distill"},
    "calibrate": {"data/prepared": "prepare_labels", "models/pruned.pt": "prune"},
    "quantize": {"models/pruned.onnx": "calibrate", "models/calibration.json": "calibrate"},
    "eval_int8": {"models/teacher.pt": "train_teacher", "models/int8.onnx": "quantize"},
    "deploy": {"models/pruned.pt": "prune", "models/pruned.onnx": "calibrate"},
}


def edit(path: Path, changes: dict[str, Any]) -> None:
    content = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(content, sort_keys=False))


AUDIT = """
import os, sys

def record(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple) or str(address[0]) in ("127.0.0.1", "::1"):
            return
    elif event == "socket.getaddrinfo":
        address = arguments[0]
    elif event == "subprocess.Popen" and "pip" in str(arguments[1]).split("'"):
        address = arguments[1]
    else:
        return
    with open(os.environ["AUDIT_FILE"], "a") as file:
        file.write(f"{event} {address} by {sys.orig_argv}\\n")

sys.addaudithook(record)
"""
"""As `sitecustomize` it records in every Python process what reaches for the network, or installs a package."""


def call(root: Path, *command: str, **added: str) -> str:
    hidden = {"MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | added
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def dvc(root: Path, *arguments: str) -> str:
    return call(root, sys.executable, "-m", "dvc", *arguments)


def repro_without_network(root: Path) -> None:
    """Run `dvc repro`, where possible in a network namespace without a way out. Record attempts in attempts.txt."""
    audit = root.parent / f"{root.name}-audit"
    audit.mkdir()
    (audit / "sitecustomize.py").write_text(AUDIT)
    (audit / "attempts.txt").touch()
    namespace = ["unshare", "--map-root-user", "--net"]
    isolated = shutil.which("unshare") and not subprocess.run([*namespace, "true"], check=False).returncode
    command = [*(namespace if isolated else ()), sys.executable, "-m", "dvc", "repro"]
    # With a key, ultralytics would send metrics and weights to its platform.
    keys = {"ULTRALYTICS_API_KEY": "a key"}
    call(root, *command, PYTHONPATH=str(audit), AUDIT_FILE=str(audit / "attempts.txt"), **keys)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with tiny parameters, in which `dvc repro` has run."""
    root = tmp_path_factory.mktemp("project")
    for name in ("src", "conf", "params.yaml", "dvc.yaml", ".gitignore", ".dvcignore"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    for name in (
        "raw",
        "unlabelled",
        "predictions",
        "weights",
    ):  # folders that stages depend on and that need not hold anything
        (root / "data" / name).mkdir(parents=True)
        (root / f"data/{name}/README.md").write_text("nothing here\n")
    edit(root / "params.yaml", TINY)
    edit(root / "conf/data/digits.yaml", TINY_SCENES)
    edit(root / "conf/teacher/yolov8s.yaml", {"architecture": "yolov8n.yaml"})
    call(root, "git", "init", "-q")
    call(root, "git", "config", "user.email", "tests@localhost")
    call(root, "git", "config", "user.name", "tests")
    dvc(root, "init", "-q")
    dvc(root, "config", "core.analytics", "false")
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-qm", "start")
    repro_without_network(root)
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-qm", "reproduced")
    return root


@pytest.fixture(scope="module")
def client(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def runs(client: MlflowClient, **tags: str) -> list[Run]:
    experiment = client.get_experiment_by_name("shrink")
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    return client.search_runs([experiment.experiment_id], query)


def run_of(client: MlflowClient, stage: str) -> Run:
    """Return the run of a stage, without the runs below it."""
    (run,) = [run for run in runs(client, stage=stage) if "mlflow.parentRunId" not in run.data.tags]
    return run


def test_every_stage_is_a_finished_run_with_metrics_params_and_config(client: MlflowClient) -> None:
    for stage in (*STAGES, *PER_TARGET):
        run = run_of(client, stage)
        assert run.info.status == "FINISHED", stage
        assert run.data.tags["mlflow.source.git.commit"]
        artifacts = {entry.path for entry in client.list_artifacts(run.info.run_id)}
        report = "integer.json" if stage in PER_TARGET else f"{stage}.json"
        assert {"config.yaml", report} <= artifacts, stage
    teacher = run_of(client, "train_teacher")
    assert teacher.data.params["imgsz"] == "64"
    assert teacher.data.params["augmentation.mosaic"] == "0.5"
    assert {"val/map50_95", "epoch/map50_95", "epoch/train/box_loss", "parameters"} <= set(teacher.data.metrics)
    assert [entry.dataset.name for entry in teacher.inputs.dataset_inputs] == ["prepared"]


def test_every_run_links_to_those_whose_outputs_it_read(client: MlflowClient) -> None:
    ids = {stage: run_of(client, stage).info.run_id for stage in (*STAGES, *PER_TARGET)}
    for stage, reads in UPSTREAM.items():
        run = run_of(client, stage)
        for name, writer in reads.items():
            assert run.data.tags[f"upstream.{name}"] == ids[writer], (stage, name)
            assert f"/runs/{ids[writer]})" in run.data.tags["mlflow.note.content"]


def test_the_control_is_a_run_below_that_of_its_stage(client: MlflowClient) -> None:
    (control,) = runs(client, **{"mlflow.parentRunId": run_of(client, "distill").info.run_id})
    assert control.info.run_name == "control"
    assert "val/map50_95" in control.data.metrics
    assert "verdict" in run_of(client, "eval_int8").data.tags


def test_a_target_that_params_name_has_a_stage_of_its_own(project: Path, client: MlflowClient) -> None:
    assert run_of(client, "deploy").data.tags["dvc.stage"] == "deploy@integer"
    assert {path.name for path in (project / "models/integer").iterdir()} == {"integer.onnx", "card.json", "card.md"}
    assert "| integer | " in (project / "reports/deploy/integer.md").read_text()
    shown = json.loads(dvc(project, "metrics", "show", "--json"))[""]["data"]
    assert shown["reports/deploy/integer.json"]["data"]["targets"]["integer"]["written"] is True
    assert not (project / "reports/deploy.json").exists()


def test_no_stage_reaches_for_the_network_or_installs_a_package(project: Path) -> None:
    assert (project.parent / f"{project.name}-audit/attempts.txt").read_text() == ""


def test_the_report_tells_of_all_five_models(project: Path) -> None:
    results = json.loads((project / "reports/eval_int8.json").read_text())
    for name in ("teacher", "student", "pruned", "onnx_fp32", "onnx_int8"):
        assert {"map50_95", "map50", "per_class", "parameters", "gflops", "size_mib"} <= set(results[name])
    assert set(results["int8_drop"]) == {"vs_fp32", "vs_teacher"}
    assert results["control"]["size_mib"] == results["student"]["size_mib"]
    assert results["verdict"]["objections"] > 0
    latency = json.loads((project / "reports/latency.json").read_text())
    assert latency["speedup"]["int8_vs_fp32"] > 0
    assert latency["onnx_int8"]["p50_ms"] > 0
    page = (project / "reports/report.md").read_text()
    assert page.startswith("# Verdict: this run proves nothing\n"), "after one epoch"
    assert "| labels alone |" in page
    for line in page.splitlines():
        if line.startswith("!["):
            assert (project / "reports" / line.partition("](")[2].rstrip(")")).is_file(), line


@pytest.mark.parametrize("name", ["teacher.pt", "student.pt", "pruned.pt", "pruned.onnx", "int8.onnx"])
def test_ultralytics_predicts_with_every_model(project: Path, name: str) -> None:
    image = next((project / "data/prepared/images/test").iterdir())
    (result,) = YOLO(project / "models" / name, task="detect").predict(image, imgsz=64, verbose=False)
    assert list(result.names.values()) == list("0123456789")


def test_nothing_is_left_to_do_and_metrics_need_git_alone(project: Path) -> None:
    assert "Data and pipelines are up to date" in dvc(project, "repro")
    edit(project / "params.yaml", {"distill": {"T": 4.0}})
    status = json.loads(dvc(project, "status", "--json"))
    call(project, "git", "checkout", "-q", "params.yaml")
    assert set(status) == {"distill-student", "eval-int8"}, "eval-int8 shows params.yaml; the rest follows the student"
    assert json.loads(dvc(project, "metrics", "diff", "HEAD", "--json")) == {}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_is_a_parent_with_children_and_leaves_the_pipeline_alone(
    project: Path, client: MlflowClient, launcher: str
) -> None:
    if launcher == "ray" and not find_spec("ray"):
        pytest.skip("needs hydra-ray-launcher, see README")
    before = {run.info.run_id for run in runs(client)}
    call(project, sys.executable, "-m", "src.quantize", "-m", "per_channel=true,false", *LAUNCHERS[launcher])
    (parent,) = [run for run in runs(client) if "winner.name" in run.data.tags and run.info.run_id not in before]
    assert parent.info.status == "FINISHED"
    children = runs(client, **{"mlflow.parentRunId": parent.info.run_id})
    assert {child.info.run_name for child in children} == {"per_channel=True", "per_channel=False"}
    assert all("val/map50_95" in child.data.metrics for child in children)
    (teacher,) = runs(client, stage="calibrate")
    assert {child.data.tags["upstream.models/pruned.onnx"] for child in children} == {teacher.info.run_id}
    assert dvc(project, "status").strip() == "Data and pipelines are up to date."
    assert not call(project, "git", "status", "--porcelain", "reports", "models", "dvc.lock").strip()
