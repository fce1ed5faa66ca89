"""Searches with optuna: of a stage that computes a parabola, and of distill with a stand-in for its training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from mlflow import MlflowClient
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from src import PROJECT
from src.config.composition import register
from src.config.optuna_search import OptunaSearch
from src.foundation.errors import UserError
from src.promote import promote
from src.workflow import sweep
from src.workflow.search import search
from src.workflow.search_space import Space, space_of
from src.workflow.study import draw, open_study, repeat
from src.workflow.trial import STUDY
from tests.workflow.test_sweep import launch, recorded, rows_of

pytestmark = pytest.mark.slow

STAGE = """
import os, signal
import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from src import PROJECT
from src.foundation.errors import UserError
from src.workflow import sweep, tracking
from src.workflow.command import guarded

@hydra.main(version_base="1.3", config_path="conf", config_name="multiply")
def main(config):
    job = sweep.job()
    value = 1 - (config.T - 3) ** 2 / 25 - (config.alpha - 0.25) ** 2 + 0.01 * config.seed
    if config.fails:
        raise UserError("models/teacher.pt is not there")
    with tracking.run("multiply", dict(config), OmegaConf.to_yaml(config), PROJECT, job.parent_run_id, job.name) as log:
        log.on_step = job.on_step
        for epoch in range(1, 5):
            log.metrics({"epoch": {"map50_95": value * epoch / 4}}, step=epoch)
        if str(HydraConfig.get().job.num) == os.environ.get("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        return None if config.blind else value

if __name__ == "__main__":
    import sys
    sys.exit(guarded(main))
"""

CONFIG = f"""
hydra: {{searchpath: ["file://{PROJECT}/conf"]}}
defaults: [run, _self_]
T: 1
alpha: 0.5
seed: 0
fails: false
blind: false
"""

SPACE = ("T=interval(1,8)", "alpha=interval(0,1)")
SETTINGS = OptunaSearch(n_trials=30, n_jobs=None, seed=0, startup_trials=5, prune=True, spared_epochs=1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "multiply.py").write_text(STAGE)
    (folder / "conf").mkdir()
    (folder / "conf" / "multiply.yaml").write_text(CONFIG)
    return folder


def searched(
    project: Path, name: str, *overrides: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Search in the folder `multirun/<name>` and the experiment `name`."""
    folder = f"hydra.sweep.dir=multirun/{name}"
    done = launch(project, name, "-m", "hydra/sweeper=optuna", folder, *overrides, **environment)
    return done, project / "multirun" / name


def study_in(folder: Path) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / STUDY))
    return optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))


def parsed(*overrides: str) -> Space:
    return space_of(OverridesParser.create().parse_overrides(list(overrides)))


def value_of(params: dict[str, Any]) -> float:
    return float(1 - (params["T"] - 3) ** 2 / 25 - (params["alpha"] - 0.25) ** 2)


def told(study: optuna.Study, settings: OptunaSearch, batch: int = 1, until: int | None = None) -> None:
    """Run a search of the parabola. Stop with a batch drawn but not told once there are `until` trials."""
    while trials := draw(study, parsed(*SPACE).drawn, settings, batch):
        if until is not None and len(study.trials) >= until:
            return
        for trial in trials:
            study.tell(trial.number, value_of(trial.params))


def finished(study: optuna.Study) -> list[tuple[dict[str, Any], float | None]]:
    return [(trial.params, trial.value) for trial in study.get_trials(states=(TrialState.COMPLETE,))]


def test_every_form_of_hydras_grammar_is_a_distribution() -> None:
    space = parsed(
        "a=interval(1,8)",
        "b=int(interval(1,8))",
        "c=tag(log,interval(0.001,0.1))",
        "d=range(10,50,10)",
        "e=range(0.0,1.0,0.25)",
        "f=x,y",
        "g=shuffle(choice(3,1,2))",
        "h=5",
        "~i",
        "seed=0,1",
    )
    assert space.drawn == {
        "a": FloatDistribution(1, 8),
        "b": IntDistribution(1, 8),
        "c": FloatDistribution(0.001, 0.1, log=True),
        "d": IntDistribution(10, 40, step=10),
        "e": FloatDistribution(0, 0.75, step=0.25),
        "f": CategoricalDistribution(["x", "y"]),
        "g": CategoricalDistribution(["1", "2", "3"]),
    }
    params = {"a": 2.345678, "b": 3, "c": 0.00123456, "d": 20, "e": 0.5, "f": "y", "g": "2"}
    common = ["a=2.346", "b=3", "c=0.001235", "d=20", "e=0.5", "f=y", "g=2", "h=5", "~i"]
    assert space.jobs(params) == [[*common, "seed=0"], [*common, "seed=1"]]


def test_rounded_numbers_stay_in_their_interval() -> None:
    assert parsed("T=interval(1.23446,8)").jobs({"T": 1.23447}) == [["T=1.23446"]]
    assert parsed("T=interval(1,1.23456)").jobs({"T": 1.23455}) == [["T=1.23456"]]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["T=3", "seed=0,1"], r"a search needs something to draw: add an interval, such as 'T=interval\(1,8\)'"),
        (["T=interval(8,1)"], r"T: cannot draw from interval\(8,1\): "),
        (["T=tag(log,interval(0,1))"], r"T: cannot draw from tag\(log,interval\(0,1\)\): "),
        (["T=range(8,1)"], r"T: cannot draw from range\(8,1\): it is empty"),
        (["T=interval(8,1)", "seed=interval(0,1)"], r"T: cannot .*; seed: expected a list such as seed=0,1,2"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parsed(*overrides)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Any]:
    """The config of distill, and what composes it."""
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        overrides = ["hydra/sweeper=optuna", f"hydra.sweep.dir={tmp_path}", f"hydra.runtime.cwd={tmp_path}"]
        composed = compose("distill", overrides, return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
        yield composed, loader


@pytest.mark.parametrize(
    ("settings", "overrides", "message"),
    [
        (
            {"n_trials": 0, "n_jobs": 0},
            SPACE,
            r"hydra\.sweeper\.n_trials must be at least 1, .*; hydra\.sweeper\.n_jobs",
        ),
        ({"seed": -1}, SPACE, r"hydra\.sweeper\.seed must be at least 0"),
        ({}, ["alpha=interval(0,2)", "T=interval(0,8)"], r"alpha must .* at most 1, got 2\.0: .*"),
        ({}, ["alpha=interval(0,2)", "T=interval(0,8)"], r"T must be above 0, got 0\.0: change its interval"),
        ({}, ["distillation.feature=interval(-1,2)"], r"distillation\.feature must be at least 0, got -1\.0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_before_anything_runs(
    config: Any, tmp_path: Path, settings: dict[str, Any], overrides: list[str], message: str
) -> None:
    composed, loader = config
    given = {key: value for key, value in composed.hydra.sweeper.items() if key != "_target_"}
    with pytest.raises(UserError, match=message) as raised:
        search({**given, **settings}, list(overrides), composed, loader, launcher=None)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_of_another_type_is_told_by_its_key(project: Path) -> None:
    done, folder = searched(project, "type", *SPACE, "hydra.sweeper.n_trials=many")
    assert done.returncode == 1
    assert (
        done.stderr == "error: hydra.sweeper.n_trials: Value 'many' of type 'str' could not be converted to Integer\n"
    )
    assert done.stdout == "", "nothing ran, so there is no summary"
    assert not (folder / "children.csv").exists()
    parent, _ = recorded(project, "type")
    assert parent.info.status == "FAILED"


def test_the_search_comes_closer_to_the_maximum_than_its_random_start(tmp_path: Path) -> None:
    study = open_study(tmp_path, list(SPACE), 1)
    told(study, SETTINGS)
    values = [value for _, value in finished(study) if value is not None]
    assert len(values) == 30
    assert sum(values[-10:]) / 10 > sum(values[:5]) / 5 + 0.1
    assert study.best_value > 0.98
    assert study.best_params["T"] == pytest.approx(3, abs=0.7)


def test_the_same_seed_draws_the_same_trials_and_another_one_others(tmp_path: Path) -> None:
    drawn = {}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        study = open_study(tmp_path / name, list(SPACE), 1)
        told(study, OptunaSearch(**{**vars(SETTINGS), "n_trials": 8, "seed": seed}), batch=2)
        drawn[name] = finished(study)
    assert drawn["one"] == drawn["same"]
    assert not [pair for pair in drawn["other"] if pair in drawn["one"]]
    assert len({str(params) for params, _ in drawn["one"]}) == 8


def test_a_search_that_was_killed_draws_the_same_trials_as_one_that_was_not(tmp_path: Path) -> None:
    settings = OptunaSearch(**{**vars(SETTINGS), "n_trials": 12})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    told(open_study(whole, list(SPACE), 1), settings, batch=3)
    told(open_study(killed, list(SPACE), 1), settings, batch=3, until=9)
    study = open_study(killed, list(SPACE), 1)
    running = study.get_trials(states=(TrialState.RUNNING,))
    assert [trial.number for trial in running] == [6, 7, 8]
    study.tell(6, value_of(running[0].params))  # it had finished
    for trial in running[1:]:
        repeat(study, trial.number)
    told(study, settings, batch=3)
    assert finished(study) == finished(study_in(whole))
    assert [trial.state for trial in study.trials].count(TrialState.FAIL) == 2


def test_a_study_goes_on_with_its_own_overrides_only(tmp_path: Path) -> None:
    open_study(tmp_path, [*SPACE, "epochs=2"], 1)
    open_study(tmp_path, ["epochs=2", *SPACE], 1)
    with pytest.raises(UserError, match=r"expected the overrides of this study, .* epochs=2, got .* epochs=3: repeat"):
        open_study(tmp_path, [*SPACE, "epochs=3"], 1)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / STUDY).write_text("no study\nat all\n")
    with pytest.raises(UserError, match=r"study\.journal: cannot be read .*: name another folder"):
        open_study(tmp_path, list(SPACE), 1)


def test_hopeless_trials_are_stopped_and_a_search_can_be_extended(project: Path) -> None:
    few = "hydra.sweeper.startup_trials=3"
    done, folder = searched(project, "early", *SPACE, "hydra.sweeper.n_trials=7", few)

    assert done.returncode == 0, done.stderr
    states = [trial.state for trial in study_in(folder).trials]
    rows = rows_of(folder / "children.csv")
    assert [row["status"] for row in rows] == ["FINISHED" if s == TrialState.COMPLETE else "PRUNED" for s in states]
    assert states[:3] == [TrialState.COMPLETE] * 3
    assert TrialState.PRUNED in states
    pruned = states.count(TrialState.PRUNED)
    assert f"sweep: {7 - pruned} of 7 jobs finished, {pruned} stopped early, best T=" in done.stdout
    parent, children = recorded(project, "early")
    assert parent.info.status == "FINISHED"
    assert len(children) == 7
    for row in rows:
        child = children[f"T={row['T']},alpha={row['alpha']}"]
        stopped = row["status"] == "PRUNED"
        assert child.info.run_id == row["run_id"]
        assert child.info.status == ("KILLED" if stopped else "FINISHED")
        assert ("is below the median" in child.data.tags.get("pruned", "")) is stopped
        assert "error" not in child.data.tags
    best = max((row for row in rows if row["value"]), key=lambda row: float(row["value"]))
    assert parent.data.tags["winner.run_id"] == best["run_id"]
    assert parent.data.params == children[parent.data.tags["winner.name"]].data.params
    assert (parent.data.params["T"], parent.data.params["alpha"]) == (best["T"], best["alpha"])
    artifacts = project / "mlruns" / parent.info.run_id / "artifacts"
    assert {path.name for path in artifacts.iterdir()} == {"children.csv", "history.png", "importance.png"}

    done, _ = searched(project, "early", *SPACE, "hydra.sweeper.n_trials=8", few)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Launching 1 jobs") == 1
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    parents = [
        run for run in client.search_runs([parent.info.experiment_id]) if "mlflow.parentRunId" not in run.data.tags
    ]
    new = next(run for run in parents if run.info.run_id != parent.info.run_id)
    below = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{new.info.run_id}'")
    assert len(below) == 8
    earlier = client.get_run(parent.info.run_id)
    assert (earlier.info.status, earlier.data.tags["continued_by"]) == ("FINISHED", new.info.run_id)


def test_a_killed_search_goes_on_and_repeats_the_trial_that_ran(project: Path) -> None:
    trials = "hydra.sweeper.n_trials=3"
    done, folder = searched(project, "killed", *SPACE, trials, KILLED="1")
    assert done.returncode == -9
    assert [trial.state for trial in study_in(folder).trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    earlier = json.loads((folder / sweep.PARENT).read_text())["parent_run_id"]

    done, _ = searched(project, "killed", *SPACE, trials)
    assert done.returncode == 0, done.stderr
    assert "sweep: 3 of 3 jobs finished" in done.stdout
    study = study_in(folder)
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE,
    ]  # fmt: skip
    assert study.trials[1].params == study.trials[2].params
    rows = rows_of(folder / "children.csv")
    assert [row["status"] for row in rows] == ["FINISHED", "KILLED", "FINISHED", "FINISHED"]
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    parent = json.loads((folder / sweep.PARENT).read_text())["parent_run_id"]
    assert client.get_run(parent).info.status == "FINISHED"
    assert client.get_run(earlier).info.status == "KILLED"
    children = [client.get_run(row["run_id"]) for row in rows]
    assert [child.info.status for child in children] == ["FINISHED", "KILLED", "FINISHED", "FINISHED"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent}


def test_jobs_side_by_side_are_the_trials_of_a_batch(project: Path) -> None:
    done, folder = searched(
        project, "joblib", *SPACE, "hydra.sweeper.n_trials=3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"
    )
    assert done.returncode == 0, done.stderr
    assert "launching 2 jobs" in done.stdout
    assert "launching 1 jobs" in done.stdout
    parent, children = recorded(project, "joblib")
    assert {child.info.status for child in children.values()} == {"FINISHED"}
    rows = rows_of(folder / "children.csv")
    trials = study_in(folder).trials
    for row, trial in zip(rows, trials, strict=True):
        assert float(row["T"]) == pytest.approx(trial.params["T"], rel=1e-3)
        assert float(row["value"]) == trial.value == pytest.approx(value_of(trial.params), abs=1e-3)
        assert len(trial.intermediate_values) == 4
    assert parent.data.metrics["best"] == max(trial.value for trial in trials)


def test_every_trial_runs_over_all_seeds_and_its_mean_counts(project: Path) -> None:
    done, folder = searched(project, "seeds", *SPACE, "seed=0,2", "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stderr
    rows = rows_of(folder / "children.csv")
    assert [row["seed"] for row in rows] == ["0", "2", "0", "2"]
    trials = study_in(folder).trials
    for number, trial in enumerate(trials):
        pair = rows[2 * number : 2 * number + 2]
        assert trial.value == pytest.approx(sum(float(row["value"]) for row in pair) / 2) == float(pair[0]["mean"])
        assert trial.intermediate_values == {}
    assert "over 2 seeds" in done.stdout


def test_a_search_in_which_nothing_works_stops_at_once(project: Path) -> None:
    done, _ = searched(project, "fails", *SPACE, "fails=true")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: models/teacher.pt is not there"
    assert done.stdout.count("Launching 1 jobs") == 1
    done, _ = searched(project, "blind", *SPACE, "blind=true")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: the stage returns no val mAP50-95: there is nothing to search by"


def test_a_search_goes_on_after_a_failed_trial(project: Path) -> None:
    done, folder = searched(project, "some", "T=interval(1,8)", "fails=false,true", "hydra.sweeper.n_trials=6")
    failed = [row["status"] for row in rows_of(folder / "children.csv")].count("FAILED")
    assert 0 < failed < 6
    assert done.returncode == 1
    assert f"error: {failed} of 6 trials failed: {folder}/children.csv has their errors" in done.stderr
    parent, _ = recorded(project, "some")
    assert parent.info.status == "FAILED"
    assert "winner.run_id" in parent.data.tags


def test_two_processes_do_not_search_in_one_folder(project: Path) -> None:
    folder = project / "multirun/twice"
    folder.mkdir(parents=True)
    with FileLock(folder / sweep.LOCK):
        done, _ = searched(project, "twice", *SPACE)
    assert done.returncode == 1
    assert (
        done.stderr == f"error: {folder}: another process searches there: wait until it ends, or name another folder\n"
    )
    assert not (folder / sweep.PARENT).exists()


DISTILL = """
import sys
from types import ModuleType
from src.workflow.command import command
from src.workflow.stage import StageResult

def run(params, files, log):
    value = 1 - (params.T - 3.5) ** 2 / 25 - (params.alpha - 0.25) ** 2
    log.metrics({"epoch": {"map50_95": value}}, step=1)
    return StageResult({"val": {"map50_95": value}})

stage = sys.modules["src.distill"] = ModuleType("src.distill")
stage.run = run
command("distill")
"""


def promoted(tmp_path: Path, *overrides: str) -> list[str]:
    """Sweep distill without training, promote the winner, and return the new lines of params.yaml."""
    script = tmp_path / "distill.py"
    script.write_text(DISTILL)
    (tmp_path / "params.yaml").write_text((PROJECT / "params.yaml").read_text())
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "DVC"))}
    done = subprocess.run(
        [sys.executable, str(script), "-m", f"hydra.sweep.dir={tmp_path / 'multirun'}", *overrides],
        cwd=PROJECT,
        env={**inherited, "PYTHONPATH": str(PROJECT), "DVC_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parent = json.loads((tmp_path / "multirun" / sweep.PARENT).read_text())["parent_run_id"]
    try:
        difference = promote(tmp_path, parent)
    finally:
        register()
    return [line.split("#")[0].strip() for line in difference.splitlines() if line.startswith("+ ")]


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    return tmp_path


def test_the_winner_of_a_search_is_promoted(store: Path) -> None:
    lines = promoted(store, "hydra/sweeper=optuna", *SPACE, "hydra.sweeper.n_trials=3")
    best = max(rows_of(store / "multirun/children.csv"), key=lambda row: float(row["value"] or 0))
    assert lines == [f"+  T: {best['T']}", f"+  alpha: {best['alpha']}"]
    for trial in study_in(store / "multirun").trials:  # the stage reported its epoch to the search
        assert trial.intermediate_values == {1: pytest.approx(trial.value)}


def test_the_settings_of_an_experiment_are_promoted_not_its_name(store: Path) -> None:
    lines = promoted(store, "experiment=sharp,soft", "alpha=0.3")
    assert lines == ["+  distillation: response", "+  T: 4.0", "+  alpha: 0.3"]
    assert [row["experiment"] for row in rows_of(store / "multirun/children.csv")] == ["sharp", "soft"]
