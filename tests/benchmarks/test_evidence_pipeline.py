"""The evidence in miniature: a teacher and four students through DVC, and the product's DVC beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from src import PROJECT

pytestmark = pytest.mark.slow


COPIED = (
    "src",
    "conf",
    "params.yaml",
    "dvc.yaml",
    ".gitignore",
    ".dvcignore",
    "benchmarks",
    "reports/evidence/README.md",
)
EVIDENCE = "benchmarks/evidence"
KEPT_OUT = shutil.ignore_patterns("__pycache__", "made", "plan", "bccd", "cards", "cache", "tmp", "dvc.lock", "mlruns")
SCENES = ("train_images=16", "val_images=6", "test_images=9", "size_px=64", "most_digits=4")
TINY = {
    "datasets": {
        "digits": {
            "title": "Digits",
            "root": f"{EVIDENCE}/data/README.md",
            "prepare": ["data=digits", *(f"data.{scenes}" for scenes in SCENES)],
            "train": ["augmentation=glyphs", "imgsz=64", "batch=8", "threads=1"],
            "epochs": 1,
        }
    },
    "teacher": {"settings": ["teacher=yolov8s", "teacher.architecture=yolov8n.yaml"], "epochs": 1, "patience": 1},
    "runs": {"student": {"data": ["digits"], "variant": ["teacher-labels", "teacher-heads"], "seed": [0, 1]}},
    "chains": {"chain": {"data": ["digits"], "student": ["teacher-heads"], "after": ["int8"], "seed": [0]}},
    "predictions": [],
    "tuning": {"share": 1, "seed": 9, "data": [], "method": [], "methods": {}},
    "latency": {"data": ["digits"], "processes": 2, "rounds": 2},
    "chain_tables": [{"title": "C", "control": "teacher-heads/int8", "rows": []}],
    "tables": [{"title": "T", "group": "student", "control": "teacher-labels", "variants": ["teacher-heads"]}],
}


def call(root: Path, *command: str) -> str:
    hidden = {"MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def dvc(root: Path, *arguments: str) -> str:
    return call(root, sys.executable, "-m", "dvc", *arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a tiny protocol, in which everything has run."""
    root = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source, target = PROJECT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=KEPT_OUT)
        else:
            shutil.copy(source, target)
    params = root / EVIDENCE / "params.yaml"
    content = yaml.safe_load(params.read_text())
    content["sealed"]["data"] = ["digits"]
    params.write_text(yaml.safe_dump({**content, **TINY}, sort_keys=False))
    pipeline = root / EVIDENCE / "dvc.yaml"
    stages = yaml.safe_load(pipeline.read_text())
    of_protocol = {*content["runs"], *content["chains"]}
    for group in of_protocol - {*TINY["runs"], *TINY["chains"]}:
        del stages["stages"][group]
    pipeline.write_text(yaml.safe_dump(stages, sort_keys=False))
    call(root, "git", "init", "-q")
    call(root, "git", "config", "user.email", "tests@localhost")
    call(root, "git", "config", "user.name", "tests")
    dvc(root, "init", "-q")
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-qm", "start")
    call(root, sys.executable, "-m", "benchmarks.evidence.everything", "--hours", "1")
    return root


def results(project: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (project / "reports/evidence").glob("*.json")}


def test_every_run_has_its_result_with_what_it_was_made_from(project: Path) -> None:
    found = results(project)
    assert set(found) == {
        "prepare-digits",
        "teacher-digits",
        "chain-digits-teacher-heads-int8-0",
        *(f"student-digits-{variant}-{seed}" for variant in ("teacher-labels", "teacher-heads") for seed in (0, 1)),
    }
    student, teacher = found["student-digits-teacher-heads-1"], found["teacher-digits"]
    assert student["epochs"] == {"own": 1, "best": 1, "below": 1}
    assert student["digests"]["teacher"] == teacher["digests"]["teacher"]
    assert student["digests"]["data"] == found["prepare-digits"]["digests"]["data"]
    assert student["made"]["changed_since_commit"] is False
    assert (student["test"]["images"], found["prepare-digits"]["sealed"]) == (6, 3)
    assert len(student["draws"].split()) == 1000
    chain = found["chain-digits-teacher-heads-int8-0"]
    assert chain["epochs"] == {"own": 1, "below": 1}
    assert 0 < chain["int8"]["size_mib"] < chain["fp32"]["size_mib"] / 2


def test_every_training_is_a_run_in_the_project_s_store(project: Path) -> None:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("evidence")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == set(results(project))
    assert len(runs) < len(client.search_runs([experiment.experiment_id])), "a chain has a run per stage"
    assert runs["student-digits-teacher-heads-1"].data.params["choices.teaching"] == "offline"
    assert all(run.info.status == "FINISHED" for run in runs.values())


def test_the_page_has_a_row_per_variant_and_none_is_stale(project: Path) -> None:
    text = (project / "reports/benchmarks/evidence.md").read_text()
    assert "| heads | 2 |" in text
    assert "| teacher-heads: INT8 | 1 |" in text
    assert "stale**" not in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (project / "reports/benchmarks" / line.partition("](")[2].rstrip(")")).is_file(), line


def test_nothing_is_left_to_do_but_what_always_runs(project: Path) -> None:
    status = json.loads(dvc(project / EVIDENCE, "status", "--json"))
    assert set(status) == {"plan", "page", "latency@digits", "opening@digits"}, "neither was asked for"
    assert "Running stage 'student" not in dvc(project / EVIDENCE, "repro", "student")


def test_the_product_s_dvc_does_not_see_the_evidence(project: Path) -> None:
    assert "evidence" not in dvc(project, "stage", "list", "--all")
    assert "evidence" not in dvc(project, "status", "--json")
    call(project, "git", "add", "-A")
    assert "evidence" not in dvc(project, "metrics", "show", "--json")
    assert not (project / ".dvc/cache").exists()
