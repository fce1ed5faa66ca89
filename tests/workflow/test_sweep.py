"""Sweeps of a stage that multiplies two numbers, started from the command line."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from src.workflow import sweep

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]

STAGE = """
import os, signal
import sys
import hydra
from omegaconf import OmegaConf
from src import PROJECT
from src.foundation.errors import UserError
from src.workflow import sweep, tracking
from src.workflow.command import guarded

@hydra.main(version_base="1.3", config_path="conf", config_name="multiply")
def main(config):
    job = sweep.job()
    if config.T < 0:
        raise UserError("T must be > 0, got -1: edit params.yaml")
    parent, name = (job.parent_run_id, job.name) if job else (None, None)
    with tracking.run("multiply", dict(config), OmegaConf.to_yaml(config), PROJECT, parent, name) as log:
        if config.T == 13:
            raise ValueError("13 is not allowed")
        if config.T == 99:
            os.kill(os.getpid(), signal.SIGKILL)
        if config.T > 1000:
            os.kill(os.getpid(), config.T - 1000)
        outlier = 1.2 * (config.T == 1 and config.seed == 2)
        log.metrics({"map50_95": config.T * config.alpha + outlier})
        return config.T * config.alpha + outlier

if __name__ == "__main__":
    sys.exit(guarded(main))
"""

CONFIG = f"""
hydra: {{searchpath: ["file://{REPO}/conf"]}}
defaults: [run, _self_]
T: 1
alpha: 0.5
seed: 0
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "multiply.py").write_text(STAGE)
    (folder / "conf").mkdir()
    (folder / "conf" / "multiply.yaml").write_text(CONFIG)
    return folder


def launch(
    project: Path, experiment: str, *overrides: str, stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m multiply` with tracking in the project's store. Each test has its own experiment."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC"))}
    added = {"PYTHONPATH": f"{REPO}:{project}", "DVC_ROOT": str(project), "MLFLOW_EXPERIMENT_NAME": experiment}
    command = [sys.executable, "-m", "multiply", *overrides]
    return subprocess.run(
        command,
        cwd=project,
        env={**inherited, **added, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
    )


def recorded(project: Path, experiment: str) -> tuple[Run, dict[str, Run]]:
    """Return the parent and its children by name."""
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    assert found
    runs = list(client.search_runs([found.experiment_id]))
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == len(runs) - 1
    return parent, {str(run.info.run_name): run for run in children}


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open() as stream:
        return list(csv.DictReader(stream))


def test_a_sweep_of_three_by_two_values_has_a_parent_and_six_children(project: Path) -> None:
    before = {path.name for path in project.iterdir()}
    done = launch(project, "six", "-m", "T=1,3,5", "alpha=0.5,0.7")

    assert done.returncode == 0, done.stderr
    assert "best T=5,alpha=0.7 with 3.5" in done.stdout
    parent, children = recorded(project, "six")
    assert parent.info.run_name == "multiply sweep T=1,3,5 alpha=0.5,0.7"
    assert parent.info.status == "FINISHED"
    assert set(children) == {f"T={T},alpha={alpha}" for T in (1, 3, 5) for alpha in (0.5, 0.7)}
    assert {child.info.status for child in children.values()} == {"FINISHED"}
    winner = children["T=5,alpha=0.7"]
    assert parent.data.tags["winner.name"] == "T=5,alpha=0.7"
    assert parent.data.tags["winner.run_id"] == winner.info.run_id
    assert parent.data.metrics["best"] == pytest.approx(3.5)
    assert parent.data.params == winner.data.params == {"T": "5", "alpha": "0.7", "seed": "0"}
    (table,) = project.glob("multirun/multiply/*/children.csv")
    rows = rows_of(table)
    assert list(rows[0]) == ["job", "T", "alpha", "status", "value", "run_id", "error"]
    assert {row["run_id"] for row in rows} == {child.info.run_id for child in children.values()}
    artifact = project / "mlruns" / parent.info.run_id / "artifacts" / "children.csv"
    assert artifact.read_text() == table.read_text()
    assert {path.name for path in project.iterdir()} - before <= {
        "multirun", "mlruns", "mlflow.db", "mlflow.db.lock", "__pycache__",
    }  # fmt: skip


def test_the_best_mean_over_seeds_wins_not_the_best_job(project: Path) -> None:
    done = launch(project, "seeds", "-m", "T=1,3", "seed=0,1,2", "hydra.sweep.dir=multirun/seeds")

    assert done.returncode == 0, done.stderr
    assert "6 of 6 jobs finished, best T=3 with 1.5 ± 0 over 3 seeds" in done.stdout
    parent, children = recorded(project, "seeds")
    assert children["T=1,seed=2"].data.metrics["map50_95"] > children["T=3,seed=2"].data.metrics["map50_95"]
    assert parent.data.metrics == {"best": pytest.approx(1.5), "best_std": 0}
    assert parent.data.tags["winner.name"] == "T=3"
    assert parent.data.tags["winner.seeds"] == "3"
    assert parent.data.tags["winner.run_id"] == children["T=3,seed=0"].info.run_id
    assert parent.data.params == {"T": "3", "alpha": "0.5"}
    outlier = rows_of(project / "multirun/seeds/children.csv")[2]
    assert (outlier["T"], outlier["seed"], outlier["value"]) == ("1", "2", "1.7")
    assert float(outlier["mean"]) == pytest.approx(0.9)
    assert float(outlier["std"]) == pytest.approx(1.2 / 3**0.5)


def test_a_contender_with_a_failed_seed_cannot_win() -> None:
    outcomes = [
        sweep.Outcome(0, ("T=1", "seed=0"), "FINISHED", 0.9),
        sweep.Outcome(1, ("T=1", "seed=1"), "FAILED"),
        sweep.Outcome(2, ("T=3", "seed=0"), "FINISHED", 0.4),
        sweep.Outcome(3, ("T=3", "seed=1"), "FINISHED", 0.6),
    ]
    found = with_failure, complete = sweep.contenders(outcomes)
    assert (with_failure.name, with_failure.value, with_failure.spread) == ("T=1", 0.9, None)
    assert str(complete) == "T=3 with 0.5 ± 0.14 over 2 seeds"
    assert sweep.winner_of(found) == complete
    assert sweep.winner_of([with_failure]) is None


def test_a_failing_job_does_not_stop_parallel_jobs(project: Path) -> None:
    done = launch(project, "joblib", "-m", "T=1,13,5", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")

    assert done.returncode == 1
    assert "job T=13 failed: 13 is not allowed" in done.stdout + done.stderr
    assert "2 of 3 jobs finished, best T=5 with 2.5" in done.stdout
    parent, children = recorded(project, "joblib")
    assert {name: child.info.status for name, child in children.items()} == {
        "T=1": "FINISHED",
        "T=13": "FAILED",
        "T=5": "FINISHED",
    }
    assert children["T=13"].data.tags["error"] == "13 is not allowed"
    assert parent.info.status == "FAILED"
    assert parent.data.tags["winner.name"] == "T=5"


def test_a_job_that_fails_before_its_run_starts_is_a_failed_child(project: Path) -> None:
    done = launch(project, "invalid", "-m", "T=-1,2")

    assert done.returncode == 1
    assert "job T=-1 failed: T must be > 0" in done.stdout + done.stderr
    parent, children = recorded(project, "invalid")
    assert {name: child.info.status for name, child in children.items()} == {"T=-1": "FAILED", "T=2": "FINISHED"}
    assert parent.info.status == "FAILED"


def test_the_run_of_a_killed_process_is_closed_as_killed(project: Path) -> None:
    done = launch(project, "killed", "-m", "T=99", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")

    assert done.returncode == 1
    parent, children = recorded(project, "killed")
    assert children["T=99"].info.status == "KILLED"
    assert parent.info.status == "FAILED"


def test_a_sweep_without_tracking_still_has_a_winner(project: Path) -> None:
    done = launch(
        project, "down", "-m", "T=1,3", "hydra.sweep.dir=multirun/down", MLFLOW_TRACKING_URI="http://127.0.0.1:9"
    )

    assert done.returncode == 0, done.stderr
    assert "best T=3 with 1.5" in done.stdout
    assert done.stderr.count("warning: MLflow") == 3  # two jobs and the parent
    rows = rows_of(project / "multirun" / "down" / "children.csv")
    assert [(row["T"], row["status"], row["value"], row["run_id"]) for row in rows] == [
        ("1", "FINISHED", "0.5", ""),
        ("3", "FINISHED", "1.5", ""),
    ]


def test_a_job_without_a_parent_run_fails_with_a_reason(project: Path) -> None:
    done = launch(project, "orphan", "-m", "T=1", "~hydra.callbacks.sweep", "hydra.sweep.dir=multirun/orphan")

    assert done.returncode == 1
    assert "sweep.json is not there, so the sweep has no parent run" in done.stderr


def test_a_single_run_is_no_sweep(project: Path) -> None:
    done = launch(project, "single", "T=3", "hydra.run.dir=outputs/single")

    assert done.returncode == 0, done.stderr
    parent, children = recorded(project, "single")
    assert parent.info.run_name == "multiply"
    assert children == {}
    assert not (project / "outputs" / "single" / sweep.OUTCOMES).exists()


def test_finish_without_a_sweep_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    sweep.finish(failed=True)
    assert capsys.readouterr().out == ""


def test_importing_the_module_does_not_import_mlflow() -> None:
    code = "import sys, src.workflow.sweep; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO, check=False).returncode == 0


def test_jobs_with_the_same_overrides_have_runs_of_their_own(project: Path) -> None:
    done = launch(project, "twice", "-m", "T=1,1", "hydra.sweep.dir=multirun/twice")

    assert done.returncode == 0, done.stderr
    rows = rows_of(project / "multirun/twice/children.csv")
    assert len({row["run_id"] for row in rows} - {""}) == 2


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_closes_the_sweep_and_its_job(project: Path, request_to_end: signal.Signals) -> None:
    experiment = request_to_end.name
    done = launch(project, experiment, "-m", f"T=2,{1000 + request_to_end}")

    assert done.returncode == 130
    assert "interrupted" in done.stderr
    parent, children = recorded(project, experiment)
    assert parent.info.status == "FAILED"
    assert [child.info.status for child in children.values()] == ["KILLED", "FINISHED"]


def test_a_sweep_outlives_the_reader_of_its_output(project: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = launch(project, "closed pipe", "-m", "T=2,3", stdout=writer)
    os.close(writer)

    assert (done.returncode, done.stderr) == (0, "")
    parent, children = recorded(project, "closed pipe")
    assert {run.info.status for run in (parent, *children.values())} == {"FINISHED"}
    assert parent.data.tags["winner.name"] == "T=3"


def test_the_next_start_closes_a_sweep_that_was_killed(project: Path) -> None:
    def statuses() -> dict[str, str]:
        experiment = client.get_experiment_by_name("killed at once")
        assert experiment
        runs = client.search_runs([experiment.experiment_id])
        return {str(run.info.run_name): run.info.status for run in runs}

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    assert launch(project, "killed at once", "-m", "T=2,99").returncode == -signal.SIGKILL
    left = {"multiply sweep T=2,99": "RUNNING", "T=2": "FINISHED", "T=99": "RUNNING"}
    assert statuses() == left
    assert launch(project, "killed at once", "T=5").returncode == 0
    closed = {name: status.replace("RUNNING", "KILLED") for name, status in left.items()}
    assert statuses() == {**closed, "multiply": "FINISHED"}


def test_a_spreadsheet_computes_no_cell_of_the_table() -> None:
    outcomes = [sweep.Outcome(0, ("+x==cmd()", "lr=-0.5"), "FAILED", error="@SUM(1)")]
    assert sweep._table(outcomes, {}) == "job,'+x,lr,status,value,run_id,error\n0,'=cmd(),-0.5,FAILED,,,'@SUM(1)\n"
