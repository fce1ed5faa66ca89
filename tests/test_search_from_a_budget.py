"""A search in a small project: its winner, its records and its promotion, a kill, and a budget that nothing fits."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run

from src import PROJECT
from src.searching.chain import MADE
from src.searching.outcomes import NOT_TRAINED, OVER_BUDGET, TRAINED, WINNER
from tests.stages import detector

pytestmark = pytest.mark.slow

TINY = {
    "common": {"imgsz": 64, "threads": 1},
    "distill": {"epochs": 2, "batch": 8},
    "prune": {"epochs": 2, "batch": 8},
    "calibrate": {"images": 4, "bins": 256},
    "eval_int8": {"latency_rounds": 2},
}
CANDIDATES = ["students=[yolov8n]", "activation=[relu]", "imgsz=[64,32]", "ratio=[0.5,0.0]", "eta=2", "first_epochs=1"]


def call(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False, env=environment()
    )


def environment() -> dict[str, str]:
    hidden = {"MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"}
    return {key: value for key, value in os.environ.items() if key not in hidden}


def made(root: Path) -> dict[str, int]:
    """Return when each result of a stage was finished, ns."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (root / ".cache/search").glob(f"*/{MADE}")}


def killed_between_rungs(root: Path) -> dict[str, int]:
    """Search until the first network is trained, kill, and return what was made."""
    command = [sys.executable, "-m", "src.search", "budget_ms=1000", *CANDIDATES]
    with (root / "killed.log").open("w") as log:
        search = subprocess.Popen(command, cwd=root, stdout=log, stderr=log, env=environment())
        while search.poll() is None and not any(name.startswith("prune-") for name in made(root)):
            time.sleep(0.05)
        search.send_signal(signal.SIGKILL)
        search.wait()
    assert search.returncode == -signal.SIGKILL, (root / "killed.log").read_text()[-3000:]
    return made(root)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, prepared: Path, empty_store: Path) -> Path:
    """A copy of the project with tiny settings, prepared data and a teacher that knows nothing."""
    root = tmp_path_factory.mktemp("project")
    for name in ("src", "conf"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for section, values in TINY.items():
        params[section] |= values
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.copy(PROJECT / "dvc.yaml", root)
    shutil.copy(empty_store, root / "mlflow.db")
    (root / "data").mkdir()
    (root / "data/prepared").symlink_to(prepared)
    detector(prepared, root / "models/teacher.pt", 5)
    return root


@pytest.fixture(scope="module")
def killed(project: Path) -> dict[str, int]:
    return killed_between_rungs(project)


@pytest.fixture(scope="module")
def search(project: Path, killed: dict[str, int]) -> subprocess.CompletedProcess[str]:
    done = call(project, "src.search", "budget_ms=1000", *CANDIDATES)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def parent_of(project: Path) -> tuple[MlflowClient, Run]:
    """Return the run of the search that ended last."""
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("shrink")
    query = "tags.stage = 'search' and attributes.status = 'FINISHED' and tags.`winner.name` != ''"
    return client, client.search_runs([experiment.experiment_id], query)[0]


def children_of(client: MlflowClient, run: Run) -> list[Run]:
    return client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")


def rows_of(project: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader((project / "reports/search/candidates.csv").read_text().splitlines()))


def test_a_search_that_was_killed_makes_nothing_again(
    project: Path, killed: dict[str, int], search: subprocess.CompletedProcess[str]
) -> None:
    now = made(project)
    assert killed
    assert killed.items() <= now.items()
    stages = sorted(name.partition("-")[0] for name in now)
    # Networks that differ in the share of channels share their distillation: 2 in the first rung, in the second 1 or 2.
    assert stages.count("prune") == 4 + 2
    assert stages.count("distill") in (3, 4)
    assert stages.count("quantize") == 2


def test_the_plan_and_the_time_are_told_before_the_trainings(search: subprocess.CompletedProcess[str]) -> None:
    assert "4 of 4 candidates are within 1000 ms" in search.stdout
    assert "rungs of training: 4 x 1 epoch(s), 2 x 2 epoch(s)" in search.stdout
    assert re.search(r"all trainings take about \d+ (s|min), .* estimated from the first, yolov8n relu", search.stdout)


def test_the_winner_is_the_best_on_val_of_the_last_rung(
    project: Path, search: subprocess.CompletedProcess[str]
) -> None:
    first, *others = rows_of(project)
    assert first["state"] == WINNER
    assert [row["epochs"] for row in (first, *others)].count("2") == 2
    accuracies = [float(row["int8_val_map50_95"]) for row in (first, *others) if row["int8_val_map50_95"]]
    assert float(first["int8_val_map50_95"]) == max(accuracies)
    assert sum(row["state"] == TRAINED for row in others) == 2
    assert (project / "reports/search/pareto.png").stat().st_size > 0
    assert f"**Winner: {first['candidate']}**" in (project / "reports/search/report.md").read_text()


def test_each_candidate_is_a_run_with_its_state_and_the_runs_of_its_stages(
    project: Path, search: subprocess.CompletedProcess[str]
) -> None:
    client, parent = parent_of(project)
    rows = {row["candidate"]: row for row in rows_of(project)}
    children = {run.info.run_name: run for run in children_of(client, parent)}
    assert children.keys() == rows.keys()
    for name, run in children.items():
        assert run.data.tags["state"] == rows[name]["state"]
        assert run.data.params["imgsz"] == rows[name]["imgsz"]
        assert run.data.metrics["p50_ms"] == float(rows[name]["p50_ms"])
    winner = children[parent.data.tags["winner.name"]]
    assert {run.data.tags["stage"] for run in children_of(client, winner)} >= {"prune", "calibrate", "quantize"}
    assert parent.data.metrics["val/map50_95"] == winner.data.metrics["val/map50_95"]
    report = {entry.path for entry in client.list_artifacts(parent.info.run_id, "report/search")}
    assert report == {f"report/search/{name}" for name in ("candidates.csv", "pareto.png", "report.md")}


def test_the_pipeline_makes_the_winner_from_the_promoted_settings(
    project: Path, search: subprocess.CompletedProcess[str]
) -> None:
    _, parent = parent_of(project)
    before = (project / "params.yaml").read_text()
    winner = rows_of(project)[0]
    try:
        done = call(project, "src.promote", parent.info.run_id)
        assert done.returncode == 0, done.stderr
        params = yaml.safe_load((project / "params.yaml").read_text())
        assert params["common"]["imgsz"] == int(winner["imgsz"])
        assert params["train_teacher"].get("imgsz", params["common"]["imgsz"]) == 64, "that of the teacher"
        assert params["prune"]["ratio"] == float(winner["ratio"])
        assert params["choices"]["student"] == "yolov8n_relu"
        assert "has these values already" in call(project, "src.promote", parent.info.run_id).stdout
        call(project, "src.distill", "hydra.run.dir=again")
        kept = next((project / "outputs/search").glob("*/models/student.pt"))
        assert (project / "again/models/student.pt").read_bytes() == kept.read_bytes()
    finally:
        (project / "params.yaml").write_text(before)


def test_a_candidate_that_was_trained_can_be_promoted_and_no_other(
    project: Path, search: subprocess.CompletedProcess[str]
) -> None:
    client, parent = parent_of(project)
    before = (project / "params.yaml").read_text()
    trained = next(run for run in children_of(client, parent) if run.data.tags["state"] == TRAINED)
    try:
        done = call(project, "src.promote", trained.info.run_id)
        assert done.returncode == 0, done.stderr
        params = yaml.safe_load((project / "params.yaml").read_text())
        assert (params["distill"]["epochs"], params["prune"]["epochs"]) == (1, 1), "those of its rung"
    finally:
        (project / "params.yaml").write_text(before)


@pytest.mark.parametrize("budget", ["budget_ms=0.0001", "max_mib=0.01"])
def test_a_budget_that_nothing_fits_names_the_nearest(
    project: Path, search: subprocess.CompletedProcess[str], budget: str
) -> None:
    before = made(project)
    done = call(project, "src.search", budget, *CANDIDATES)
    assert done.returncode == 1
    assert re.search(r"error: no candidate is within [\d.e-]+ (ms|MiB): the nearest is yolov8n relu, ", done.stderr)
    assert "Traceback" not in done.stderr
    assert {row["state"] for row in rows_of(project)} == {OVER_BUDGET}
    assert "Nothing fits" in (project / "reports/search/report.md").read_text()
    assert made(project) == before


def test_the_time_may_be_over_before_the_first_training(
    project: Path, search: subprocess.CompletedProcess[str]
) -> None:
    done = call(project, "src.search", "budget_ms=1000", "hours=1e-6", *CANDIDATES)
    assert done.returncode == 1
    assert "error: hours=1e-06 were over before a candidate was trained: allow more" in done.stderr
    assert {row["state"] for row in rows_of(project)} == {NOT_TRAINED}


def test_faults_are_told_in_one_pass_before_anything_is_timed(project: Path) -> None:
    wrong = ["students=[gone]", "activation=[tanh]", "imgsz=[100]", "ratio=[1.0]", "target=[tpu]"]
    done = call(project, "src.search", "budget_ms=5", *wrong)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for fault in ("students: gone: expected a file", "activation: tanh:", "imgsz: 100:", "ratio: 1.0:", "target: tpu:"):
        assert fault in line


def test_without_a_teacher_the_next_step_is_named(project: Path) -> None:
    teacher = project / "models/teacher.pt"
    teacher.rename(project / "teacher.pt")
    try:
        done = call(project, "src.search", "budget_ms=5")
    finally:
        (project / "teacher.pt").rename(teacher)
    assert done.returncode == 1
    assert "error: models/teacher.pt: not there: run `dvc repro train-teacher` first" in done.stderr


def test_another_search_in_the_same_project_is_refused(project: Path) -> None:
    (project / ".cache/search").mkdir(parents=True, exist_ok=True)
    with FileLock(project / ".cache/search/search.lock"):
        done = call(project, "src.search", "budget_ms=5")
    assert "error: another search runs in this project: wait until it has ended, or end it" in done.stderr
    assert done.returncode == 1
