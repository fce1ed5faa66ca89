"""Promotion with a real store: the values written, the runs refused, and the check of the accuracy."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from src import PROJECT
from src import promote as subject
from src.config.composition import register
from src.config.groups import GROUPS
from src.config.stages import STAGES
from src.foundation.errors import UserError
from src.promote import check, main, promote
from src.workflow import tracking

pytestmark = pytest.mark.slow

CONF = PROJECT / "conf"


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copy(empty_store, tmp_path)
    was_run(tmp_path)
    yield tmp_path
    register()


def was_run(project: Path) -> None:
    """Write dvc.lock as DVC does after the pipeline ran with the current parameters."""
    params = OmegaConf.to_container(OmegaConf.load(project / "params.yaml"))
    assert isinstance(params, dict)
    stages = {
        stage: {"cmd": f"python -m src.{stage}", "params": {"params.yaml": {stage: params[stage]}}} for stage in STAGES
    }
    (project / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


def tunables(stage: str, *overrides: str) -> dict[str, Any]:
    register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        composed = compose(stage, list(overrides), return_hydra_config=True)
    chosen = composed.hydra.runtime.choices
    choices = {group: chosen[group] for group in GROUPS if group in chosen}
    OmegaConf.set_readonly(composed.hydra, False)
    with open_dict(composed):
        del composed.hydra
    values = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(values, dict)
    return {**{str(key): value for key, value in values.items()}, "choices": choices}


def recorded(
    project: Path,
    stage: str,
    *overrides: str,
    metrics: dict[str, Any] | None = None,
    status: str = "FINISHED",
    further: dict[str, Any] | None = None,
) -> str:
    run = tracking.Run(stage, project)
    run.params({**tunables(stage, *overrides), **(further or {})})
    run.metrics(metrics or {"val": {"map50_95": 0.5}})
    run.end(status)
    assert run.run_id
    return run.run_id


def test_only_values_that_differ_are_written_and_comments_stay(project: Path) -> None:
    before = (project / "params.yaml").read_text().splitlines()
    run = recorded(project, "distill", "T=4.5", "alpha=0.25", "imgsz=192")
    difference = promote(project, run)
    after = (project / "params.yaml").read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new.split("#")[0].strip() for _, new in changed] == ["imgsz: 192", "T: 4.5", "alpha: 0.25"]
    for old, new in changed:
        assert old.partition("#")[2] == new.partition("#")[2], "the comment"
        assert f"-{old}" in difference
        assert f"+{new}" in difference
    assert promote(project, run) == "", "a second promotion changes nothing"


def test_only_the_section_of_the_swept_stage_changes(project: Path) -> None:
    promote(project, recorded(project, "prune", "T=7.0"))
    params = OmegaConf.load(project / "params.yaml")
    assert params.prune.T == 7.0
    assert params.distill.T != 7.0


def test_null_stays_null(project: Path) -> None:
    promote(project, recorded(project, "quantize", "calibrator=mse"))
    text = (project / "params.yaml").read_text()
    assert "calibrator: mse" in text
    assert "register: null" in text


def test_check_compares_the_pipeline_with_the_winner_of_a_parent_run(project: Path) -> None:
    parent = recorded(project, "distill", metrics={"best": 0.75})
    (project / "reports").mkdir()
    for reached in (0.75, 0.74):
        (project / "reports/distill.json").write_text(json.dumps({"val": {"map50_95": reached}}))
        assert check(project, parent) == (0.75, 0, reached)


def test_check_returns_the_spread_over_seeds(project: Path) -> None:
    parent = recorded(project, "distill", metrics={"best": 0.75, "best_std": 0.02})
    (project / "reports").mkdir()
    (project / "reports/distill.json").write_text(json.dumps({"val": {"map50_95": 0.74}}))
    assert check(project, parent) == (0.75, 0.02, 0.74)


def test_check_needs_a_pipeline_that_ran_with_the_promoted_values(project: Path) -> None:
    (project / "reports").mkdir()
    (project / "reports/distill.json").write_text(json.dumps({"val": {"map50_95": 0.9}}))
    run = recorded(project, "distill", "T=4.5")
    promote(project, run)
    message = r"distill last ran with other values of distill than params\.yaml has: run `dvc"
    with pytest.raises(UserError, match=message):
        check(project, run)
    was_run(project)
    assert check(project, run) == (0.5, 0, 0.9)
    (project / "dvc.lock").unlink()
    with pytest.raises(UserError, match=r"dvc\.lock: found no run of distill"):
        check(project, run)


def test_settings_of_the_machine_are_not_promoted(project: Path) -> None:
    difference = promote(project, recorded(project, "quantize", "calibrator=mse", "threads=1", "register=mine"))
    changed = [line for line in difference.splitlines() if line.startswith(("+ ", "- "))]
    assert [line.split("#")[0].strip() for line in changed] == ["-  calibrator: minmax", "+  calibrator: mse"]


def test_another_data_format_is_a_choice_and_its_folder_a_value(project: Path) -> None:
    difference = promote(project, recorded(project, "prepare_labels", "data=voc", "data.root=data/mine"))
    added = [line.split("#")[0].strip() for line in difference.splitlines() if line.startswith("+ ")]
    assert added == ["+  data: voc", "+  root: data/mine"]


def test_check_needs_a_promoted_run(project: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml has other values for T: promote the run first"):
        check(project, recorded(project, "distill", "T=4.5"))


def test_check_needs_the_report_of_the_stage(project: Path) -> None:
    with pytest.raises(UserError, match=r"distill\.json: expected val\.map50_95, .*: run `dvc repro`"):
        check(project, recorded(project, "distill"))


def test_values_that_no_file_of_conf_has_get_a_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PROJECT", project)  # promote reads and writes conf/ there
    shutil.copytree(CONF, project / "conf")
    run = recorded(project, "distill", "distillation.response=2.5", "T=4.5")
    difference = promote(project, run)
    changed = [line.split("#")[0].strip() for line in difference.splitlines() if line.startswith(("+ ", "+response"))]
    assert "+response: 2.5" in changed
    assert changed[-2:] == ["+  distillation: promoted", "+  T: 4.5"]
    written = project / "conf/distillation/promoted.yaml"
    assert written.read_text().startswith(f"# heads.yaml with response of run {run}.")
    assert OmegaConf.load(written).localization == 1.0, "the others stay"
    assert promote(project, run) == ""
    other = promote(project, recorded(project, "distill", "distillation.response=3.5", "T=4.5"))
    assert re.findall(r"^[-+]response: \d\.\d", other, re.MULTILINE) == ["-response: 2.5", "+response: 3.5"]
    assert "params.yaml" not in other, "the choice stays"


def test_a_value_that_mlflow_cut_is_compared_by_its_md5_and_not_promoted(project: Path) -> None:
    root = f"data/{'deep/' * 2000}mine"
    run = recorded(project, "prepare_labels", f"data.root={root}")
    before = (project / "params.yaml").read_text()
    with pytest.raises(UserError, match=r"data\.root: the values differ .* longer than MLflow records: copy them"):
        promote(project, run)
    assert (project / "params.yaml").read_text() == before
    (project / "params.yaml").write_text(re.sub(r"(?m)^  root: .*$", f"  root: {root}", before))
    assert promote(project, run) == ""


def test_a_store_that_another_process_holds_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = recorded(project, "distill")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}?timeout=0.1")
    with sqlite3.connect(project / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"mlflow\.db.*: another process holds it: wait"):
            promote(project, run)


def test_another_file_of_conf_becomes_the_choice(project: Path) -> None:
    run = recorded(project, "distill", "augmentation=objects", "distillation=feature", "teaching=mutual", "T=4.5")
    difference = promote(project, run)
    changed = [line.split("#")[0].strip() for line in difference.splitlines() if line.startswith("+ ")]
    assert changed == ["+  augmentation: objects", "+  distillation: feature", "+  teaching: mutual", "+  T: 4.5"]
    assert promote(project, run) == ""


def test_the_folder_of_the_data_is_written_to_params(project: Path) -> None:
    assert "+  root: data/mine #" in promote(project, recorded(project, "prepare_labels", "data.root=data/mine"))


def test_a_key_that_the_pipeline_lacks_is_refused(project: Path) -> None:
    before = (project / "params.yaml").read_text()
    with pytest.raises(UserError, match=r"gone=3: expected keys of distill in params\.yaml, found none"):
        promote(project, recorded(project, "distill", "T=4.5", further={"gone": 3}))
    assert (project / "params.yaml").read_text() == before


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_a_run_that_did_not_finish_is_refused(project: Path, status: str) -> None:
    before = (project / "params.yaml").read_text()
    with pytest.raises(UserError, match=f"expected one that finished or a sweep with a winner, found {status}"):
        promote(project, recorded(project, "distill", "T=4.5", status=status))
    assert (project / "params.yaml").read_text() == before


def test_a_sweep_with_a_failed_job_still_has_a_winner(project: Path) -> None:
    run = recorded(project, "distill", "T=4.5", metrics={"best": 0.75}, status="FAILED")
    assert "+  T: 4.5" in promote(project, run)


def test_check_compares_the_pipeline_with_val_map_of_a_single_run(project: Path) -> None:
    (project / "reports").mkdir()
    (project / "reports/distill.json").write_text(json.dumps({"val": {"map50_95": 0.625}}))
    assert check(project, recorded(project, "distill")) == (0.5, 0, 0.625)


@pytest.mark.parametrize(("reached", "code"), [(0.75, 0), (0.74, 1)])
def test_the_exit_code_shows_whether_the_accuracy_was_reached(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reached: float, code: int
) -> None:
    run = recorded(project, "distill", metrics={"best": 0.75})
    (project / "reports").mkdir()
    (project / "reports/distill.json").write_text(json.dumps({"val": {"map50_95": reached}}))
    monkeypatch.setattr("src.promote.PROJECT", project)
    shutil.copytree(CONF, project / "conf")
    monkeypatch.setattr("sys.argv", ["promote", run, "--check"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert capsys.readouterr().out.startswith("not reached" if code else "reached")


def test_an_unknown_run_is_refused(project: Path) -> None:
    recorded(project, "distill")
    with pytest.raises(UserError, match=r"run 0123: not in sqlite:.*copy the id from the MLflow page"):
        promote(project, "0123")


def test_without_a_store_there_is_nothing_to_promote(project: Path) -> None:
    (project / "mlflow.db").unlink()
    with pytest.raises(UserError, match="no runs are recorded there yet"):
        promote(project, "0123")


def test_a_sweep_without_winner_is_refused(project: Path) -> None:
    run = tracking.Run("distill", project)
    run.end("FAILED")
    with pytest.raises(UserError, match="a sweep with a winner, found FAILED"):
        promote(project, str(run.run_id))


def test_a_sweep_of_a_stage_without_a_value_is_refused(project: Path) -> None:
    run = tracking.Run("calibrate", project)
    run.end("FINISHED")
    with pytest.raises(UserError, match="has no parameters: a sweep needs a job that finished"):
        promote(project, str(run.run_id))


def searched(project: Path, imgsz: int, *student: str) -> str:
    """Record a search whose winner has other settings in three stages, with the pipeline's teacher."""
    sides = [f"imgsz={imgsz}"]
    further = {
        "budget_ms": 5.0,
        "imgsz": [96, 160],
        "train_teacher": tunables("train_teacher"),
        "distill": tunables("distill", *sides, *student),
        "prune": tunables("prune", *sides, "ratio=0.5"),
        "calibrate": tunables("calibrate", *sides),
        "quantize": tunables("quantize", *sides, "target=openvino", "register=null"),
    }
    run = tracking.Run("search", project)
    run.params(further)
    run.metrics({"val": {"map50_95": 0.625}})
    run.end("FINISHED")
    assert run.run_id
    return run.run_id


def added(difference: str) -> list[str]:
    return [line.split("#")[0].strip() for line in difference.splitlines() if line.startswith("+ ")]


def test_a_search_is_promoted_for_all_its_stages_and_the_teacher_stays(project: Path) -> None:
    run = searched(project, 96, "student.activation=relu")
    difference = promote(project, run)
    assert added(difference) == [
        "+  student: yolov8n_relu",
        "+  imgsz: 96",
        "+  imgsz: 160",
        "+  ratio: 0.5",
        "+  target: openvino",
    ]
    params = OmegaConf.load(project / "params.yaml")
    assert (params.common.imgsz, params.train_teacher.imgsz) == (96, 160)
    assert tunables_of_teacher(project) == 160, "the schema knows the key"
    assert promote(project, run) == ""
    assert added(promote(project, searched(project, 160))) == ["+  student: yolov8n", "+  imgsz: 160"]


def tunables_of_teacher(project: Path) -> int:
    register(params_file=project / "params.yaml")
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return int(compose("train_teacher").imgsz)


def test_the_teacher_of_a_search_at_its_own_size_needs_no_key(project: Path) -> None:
    assert added(promote(project, searched(project, 160))) == ["+  ratio: 0.5", "+  target: openvino"]


def test_the_check_of_a_search_is_that_of_quantize_after_all_its_stages_ran(project: Path) -> None:
    run = searched(project, 96)
    (project / "reports").mkdir()
    (project / "reports/quantize.json").write_text(json.dumps({"val": {"map50_95": 0.5}}))
    with pytest.raises(
        UserError, match=r"has other values for imgsz, ratio, target, train_teacher\.imgsz: promote the"
    ):
        check(project, run)
    promote(project, run)
    with pytest.raises(UserError, match="train_teacher last ran with other values of train_teacher than"):
        check(project, run)
    was_run(project)
    assert check(project, run) == (0.625, 0, 0.5)


def test_a_search_without_winner_is_not_promoted(project: Path) -> None:
    run = tracking.Run("search", project)
    run.params({"budget_ms": 5.0, "imgsz": [96, 160]})
    run.end("FINISHED")
    with pytest.raises(UserError, match="it has no settings of the pipeline: name a search with a winner"):
        promote(project, str(run.run_id))
