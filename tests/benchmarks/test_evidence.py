"""The evidence: its protocol, what makes a row stale, what may stand in one table, and the words for a difference."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from benchmarks.evidence import (
    EVIDENCE,
    chain,
    chain_rows,
    everything,
    loading,
    opening,
    page,
    protocol,
    rows,
    running,
    runs,
    settings,
    tune,
)
from benchmarks.evidence.intervals import paired_difference
from benchmarks.evidence.measuring import Measured, to_text
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.running import Begun, Done
from benchmarks.evidence.runs import Run
from benchmarks.evidence.sealing import seal, split_digest
from benchmarks.evidence.student import epochs_of, has_teacher, trained_besides
from benchmarks.evidence.tuned import computing, read_tuned
from src.evaluation.bootstrap import DRAWS, Difference, Scores
from src.foundation.errors import UserError
from src.foundation.prepared import images_of
from src.labels.digits import compose_scenes
from src.labels.layout import write_yolo

DVC_YAML = yaml.safe_load((EVIDENCE / "dvc.yaml").read_text())["stages"]
CONTROL, HEADS = "teacher-labels", "teacher-heads"
OF_LISTS = ("predictions", "latency", "opening")
"""Stages of a foreach over a list, whose item has no key."""


@pytest.fixture(scope="module")
def told() -> Protocol:
    return loading.load()


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of results."""
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    return tmp_path


def write(told: Protocol, run: Run, map50_95: float = 0.5, of_class: float = 0.0, **digests: str) -> None:
    """Write the result of a run at the present state, but for some digests."""
    planned = settings.plan_of(run, told).content
    data = {"data": "d", "test": "t", "teacher": "m", "weights": run.name}
    accuracy = {"map50_95": map50_95, "images": 48, "per_class": {"3": {"map50_95": of_class}}}
    made = {"commit": "0" * 40, "changed_since_commit": False, "cpu": "a CPU", "device": "cpu", "threads": 2}
    content = {
        "run": planned["run"],
        "computed_by": planned["computed_by"],
        "digests": {**planned["digests"], **data, **digests},
        "epochs": {"own": 60, "best": 50, "below": 83},
        "converged": True,
        "late_gain": 0.002,
        "minutes": 10.0,
        "val": accuracy,
        "test": accuracy,
        "draws": to_text(Scores(map50_95, np.full(DRAWS, map50_95))),
        "made": {**made, "precision": "bfloat16"},
    }
    run.result.write_text(json.dumps(content))


def write_chain(
    told: Protocol, name: str, seed: int, fp32: float, int8: float, int8_digest: str = "", **digests: str
) -> None:
    """Write the result of a chain at the present state, but for some digests, and of its student."""
    student, after = name.split("/")
    run, begins = Run("chain", "bccd", student, after, seed), Run("student", "bccd", student, seed=seed)
    write(told, begins)
    write(told, run, student=begins.name, int8=int8_digest, **digests)
    content = json.loads(run.result.read_text())
    for network, value in {"fp32": fp32, "int8": int8}.items():
        draws = to_text(Scores(value, np.full(DRAWS, value)))
        content[network] = {"test": {"map50_95": value, "images": 48}, "draws": draws, "size_mib": 2.0}
    run.result.write_text(json.dumps(content))


def first_table(told: Protocol) -> protocol.Table:
    return protocol.Table(title="a table", group="student", control=CONTROL, variants=[HEADS])


def write_all(told: Protocol, gained: float, **digests: str) -> None:
    for seed in told.runs["student"].seed:
        write(told, Run("student", "bccd", CONTROL, seed=seed), 0.5 + seed / 100, **digests)
        write(told, Run("student", "bccd", HEADS, seed=seed), 0.5 + seed / 100 + gained, **digests)


# The protocol and dvc.yaml.


def test_every_computing_stage_depends_on_its_plan_and_writes_its_result() -> None:
    told = loading.load()
    kinds = {**dict.fromkeys(told.runs, "student"), **dict.fromkeys(told.chains, "chain")}
    kinds |= {name: name for name in ("prepare", "teacher", "predictions", "tune", "latency", "opening")}
    assert set(DVC_YAML) == {"plan", "page", *kinds}
    for name, kind in kinds.items():
        stage, key = DVC_YAML[name].get("do", DVC_YAML[name]), "item" if name in OF_LISTS else "key"
        assert f"benchmarks/evidence/plan/{kind}-${{{key}}}.json" in stage["deps"]
        result = f"reports/evidence/{kind}-${{{key}}}.json"
        (options,) = [out[result] for out in stage["outs"] if isinstance(out, dict)]
        assert options["cache"] is False, "results are in git"
        assert stage["wdir"] == "../.."


def test_nothing_but_the_opening_reads_sealed_images() -> None:
    reading = {
        name for name, stage in DVC_YAML.items() for dep in stage.get("do", stage).get("deps", []) if "sealed" in dep
    }
    assert reading == {"opening"}


def test_no_result_is_a_metric_or_plot_of_dvc() -> None:
    assert not [name for name, stage in DVC_YAML.items() if {"metrics", "plots"} & set(stage.get("do", stage))]


def test_every_stage_is_in_one_step_the_claim_of_the_default_first(told: Protocol) -> None:
    found = runs.steps(told)
    assert sorted(stage for step in found for stage in step) == sorted(runs.stages(told))
    assert {stage.split("@")[1].rsplit("-", 1)[0] for stage in found[0]} == {
        f"{data}-{variant}" for data in ("bccd", "cards", "digits") for variant in (CONTROL, HEADS)
    }
    assert runs.steps(told, ["labels@bccd-50-*-0"]) == [
        ["labels@bccd-50-labels-twice-0", "labels@bccd-50-unlabelled-0"]
    ]


def test_stages_whose_folder_is_not_here_are_left_out_and_named(
    told: Protocol, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = {**told.datasets, "bccd": replace(told.datasets["bccd"], root="nowhere/bccd")}
    wanted = [["student@bccd-teacher-heads-0"], ["student@digits-teacher-heads-0"]]
    assert everything._present(wanted, replace(told, datasets=datasets)) == [["student@digits-teacher-heads-0"]]
    assert "left out: nowhere/bccd is not there" in capsys.readouterr().out


def test_at_the_limit_dvc_and_its_stage_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "GRACE_S", 0.1)
    stage = [sys.executable, "-c", "import time; time.sleep(600)"]
    as_dvc = f"import subprocess; one = subprocess.Popen({stage!r}); print(one.pid, flush=True); one.wait()"
    process = subprocess.Popen([sys.executable, "-c", as_dvc], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    started = psutil.Process(int(process.stdout.readline()))
    assert everything._ended(process) != 0
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"seeds": [1]}, "seeds", id="an unknown key"),
        pytest.param({"runs": {"student": {"data": ["x"], "variant": ["y"], "seed": [0]}}}, "x is not in", id="data"),
        pytest.param({"sealed": {"share": "much"}}, "much", id="a wrong type"),
        pytest.param({"predictions": []}, "student-bccd-predictions-0 reads predictions, which", id="predictions"),
        pytest.param(
            {"tuning": {"seed": 1}}, "tuning.seed: student-bccd-teacher-labels-1 has it", id="a compared seed"
        ),
        pytest.param(
            {"tuning": {"methods": {"heads": {"variant": "teacher-heads", "tries": [["T=1"]]}}}},
            "tuning.method: channel_wise is not in",
            id="a method",
        ),
        pytest.param(
            {
                "tuning": {
                    "method": ["a", "b"],
                    "methods": {
                        "a": {"variant": "teacher-heads", "tries": [["T=1"]]},
                        "b": {"variant": "teacher-heads", "tries": []},
                    },
                }
            },
            "the same number of tries",
            id="other numbers of tries",
        ),
    ],
)
def test_a_wrong_protocol_is_refused(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    content = yaml.safe_load(loading.PARAMS.read_text())
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=fault):
        loading.load(tmp_path / "params.yaml")


def test_a_run_that_the_protocol_does_not_have_is_refused(told: Protocol) -> None:
    with pytest.raises(UserError, match="student-bccd: the protocol has no such run"):
        runs.asked(told, "student", ["bccd"])


# What a run depends on.


def test_ways_of_teaching_are_other_settings_and_seeds_are_not(told: Protocol) -> None:
    labels, other_seed, heads = (
        settings.plan_of(Run("student", "bccd", variant, seed=seed), told)
        for variant, seed in ((CONTROL, 0), (CONTROL, 1), (HEADS, 0))
    )
    assert labels.params == other_seed.params != heads.params
    assert labels.protocol == heads.protocol
    assert labels.code == heads.code


def test_ultralytics_distillation_is_other_code(told: Protocol) -> None:
    ours, theirs = (
        settings.plan_of(Run("student", "bccd", variant, seed=0), told) for variant in (HEADS, "teacher-ultralytics")
    )
    assert (ours.computed_by, theirs.computed_by) == ("student", "distill_model")
    assert ours.code != theirs.code


def test_the_code_of_a_run_is_that_of_its_stage_and_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(settings, "code_digest", lambda *names: asked.append(names) or "code")
    before = settings.code_of("student")
    monkeypatch.setattr(settings, "version", lambda library: "0.0")
    assert settings.code_of("student") != before
    assert asked[0] == ("src.distill", "benchmarks.evidence.measuring")


def test_epochs_are_the_dataset_s_share(told: Protocol) -> None:
    quarter = settings.plan_of(Run("student", "bccd", "quarter-heads", seed=0), told).settings["epochs"]
    twice = settings.plan_of(Run("student", "bccd-50", "labels-twice", seed=0), told).settings["epochs"]
    assert (quarter, twice) == (told.datasets["bccd"].epochs // 4, 2 * told.datasets["bccd-50"].epochs)


@pytest.mark.parametrize(
    ("variant", "expected"), [("scratch-labels", False), ("scratch-heads", True), (CONTROL, True), ("unlabelled", True)]
)
def test_what_stands_on_a_teacher_counts_its_epochs(told: Protocol, variant: str, expected: bool) -> None:
    overrides = settings.overrides_of(Run("student", "bccd", variant, seed=0), told)
    params = settings.typed_params("distill", overrides)
    assert has_teacher(params, distill_model=False) is expected


def test_a_chain_prunes_before_it_quantizes_at_the_size_of_its_student(told: Protocol) -> None:
    pruned = settings.chain_overrides(Run("chain", "bccd", "relu-heads", "pruned", 1), told)
    lower = settings.chain_overrides(Run("chain", "bccd", "lower-longer", "int8", 1), told)
    assert list(pruned) == ["prune", "calibrate", "quantize"]
    assert list(lower) == ["calibrate", "quantize"]
    params = {stage: settings.typed_params(stage, some) for stage, some in lower.items()}
    assert {one.imgsz for one in params.values()} == {224}
    assert params["quantize"].seed == 1


def test_a_rival_is_other_code_than_this_project_s_chain(told: Protocol) -> None:
    rival = Run("chain", "bccd", "teacher-ultralytics", "nncf", 0)
    assert settings.plan_of(rival, told).computed_by == "rival"
    assert told.after[str(rival.after)].rival in chain.RIVALS
    assert {after.rival for after in told.after.values()} <= {None, *chain.RIVALS}


def test_controls_of_a_chain_have_as_many_epochs_as_it_stands_on(told: Protocol) -> None:
    dataset = told.datasets["bccd"].epochs
    pruning = settings.typed_params(
        "prune", settings.chain_overrides(Run("chain", "bccd", "relu-heads", "pruned", 0), told)["prune"]
    )
    for control in ("plain-longer", "lower-longer", "relu-longer"):
        assert epochs_of(told.variants[control], dataset, teachers_epochs=83) == dataset + 83 + pruning.epochs


def test_networks_that_a_way_of_teaching_trains_besides_are_counted(told: Protocol) -> None:
    expected = {"assistants": 1, "ensemble": 1, "born-again": 1, "mutual": 1, "mean-teacher": 0, HEADS: 0}
    for variant, count in expected.items():
        overrides = settings.overrides_of(Run("student", "bccd-m", variant, seed=0), told)
        assert trained_besides(settings.typed_params("distill", overrides).teaching) == count, variant


def test_a_tuning_takes_the_first_best_try_on_val_and_resumes_at_the_try_it_was_at(
    told: Protocol, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[list[str]] = []
    found = iter([0.3, KeyboardInterrupt(), 0.5, 0.5, 0.1, 0.2, 0.1])

    @contextmanager
    def performed(run: Run, stage: str, overrides: list[str], *rest: Any) -> Iterator[Done]:
        trained.append(overrides[-2:])
        value = next(found)
        if isinstance(value, BaseException):
            raise value
        yield Done(None, {"val": {"map50_95": value}, "epochs": 15}, results)

    monkeypatch.setattr(tune, "MADE", results)
    monkeypatch.setattr(running, "EVIDENCE", results)
    monkeypatch.setattr(tune, "performed", performed)
    monkeypatch.setattr(tune, "write_result", lambda begun, **rest: None)
    monkeypatch.setattr("sys.argv", ["tune", "bccd", "heads"])
    (results / "bccd/models").mkdir(parents=True)
    (results / "bccd/models/teacher.pt").touch()
    with pytest.raises(KeyboardInterrupt):
        tune.main()
    tune.main()
    tries = told.tuning.methods["heads"].tries
    assert trained == [tries[0], tries[1], *tries[1:]]
    chosen = read_tuned(results / "bccd", "heads")
    assert (list(chosen.settings), chosen.epochs) == (tries[1], 6 * 15)


def test_the_weight_of_ultralytics_distillation_is_no_setting_of_the_stage() -> None:
    overrides, compute = computing(["epochs=3", "dis=12"], distills_model=True)
    assert overrides == ["epochs=3"]
    assert isinstance(compute, partial)
    assert compute.keywords == {"weight": 12.0}
    assert computing(["epochs=3"], distills_model=False) == (["epochs=3"], None)


# The sealed images.


def test_sealing_moves_images_with_their_labels_and_both_parts_say_what_they_have(tmp_path: Path) -> None:
    prepared, sealed = tmp_path / "data/prepared", tmp_path / "sealed/data/prepared"
    prepared.mkdir(parents=True)
    counts = {"train": 2, "val": 1, "test": 9}
    write_yolo(
        compose_scenes(
            prepared,
            images_per_split=counts,
            size_px=64,
            digits_per_scene=(1, 2),
            digit_size=(0.2, 0.5),
            rotation_deg=10,
            seed=0,
        ),
        prepared,
    )
    names = {image.name for image in images_of(prepared, "test")}
    before = split_digest(prepared, "test")
    seal(prepared, sealed, share=0.33, seed=0)
    left, moved = ({image.name for image in images_of(folder, "test")} for folder in (prepared, sealed))
    assert len(moved) == 3
    assert left | moved == names
    assert not left & moved
    for folder, images in ((prepared, left), (sealed, moved)):
        assert {path.stem for path in (folder / "labels/test").iterdir()} == {Path(name).stem for name in images}
        manifest = (folder / "manifest.csv").read_text()
        assert {name for name in names if f"images/test/{name}" in manifest} == images
    assert not images_of(sealed, "train")
    assert "data.yaml" in (sealed / "manifest.csv").read_text()
    assert len({before, split_digest(prepared, "test"), split_digest(sealed, "test")}) == 3


# Intervals and words.


def scores(mean: float, draws: float | np.ndarray = 0.0) -> Scores:
    return Scores(mean, np.full(DRAWS, mean) + draws)


def test_without_noise_of_images_the_interval_is_about_students() -> None:
    control = {seed: scores(0.5) for seed in range(3)}
    found = paired_difference(control, {0: scores(0.508), 1: scores(0.51), 2: scores(0.512)})
    assert found is not None
    assert found.gained == pytest.approx(0.01)
    # Student's for three differences of standard deviation 0.002: 4.303 * 0.002 / sqrt(3) = 0.00497
    assert (found.low, found.high) == pytest.approx((0.01 - 0.00497, 0.01 + 0.00497), abs=0.0006)


def test_the_same_gain_with_every_seed_has_the_interval_of_its_images() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, DRAWS)
    control = {seed: scores(0.5) for seed in range(3)}
    found = paired_difference(control, {seed: scores(0.51, noise) for seed in range(3)})
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.01 - 0.0196, 0.01 + 0.0196), abs=0.002)
    assert found.is_noise


def test_three_gains_of_the_same_sign_may_be_noise() -> None:
    control = {seed: scores(0.5) for seed in range(3)}
    found = paired_difference(control, {0: scores(0.501), 1: scores(0.51), 2: scores(0.52)})
    assert found is not None
    assert found.is_noise


def test_seeds_are_paired_and_one_seed_has_no_interval() -> None:
    control = {0: scores(0.4), 1: scores(0.6)}
    found = paired_difference(control, {0: scores(0.41), 1: scores(0.61), 2: scores(0.9)})
    assert found == Difference(0.01, 0.01, 0.01)
    assert paired_difference(control, {1: scores(0.9)}) is None


# Rows and the page.


def test_a_row_gains_where_its_interval_excludes_zero(told: Protocol, results: Path) -> None:
    write_all(told, gained=0.02)
    found = rows.rows_of(first_table(told), "bccd", told)
    assert [row.variant for row in found.rows] == [CONTROL, HEADS]
    assert found.rows[1].gained == Difference(0.02, 0.02, 0.02)
    text = page.page([found], [], told)
    assert "| heads | 3 | 53.0 ± 1.0 | 53.0 ± 1.0 | +2.0 [+2.0, +2.0] | gains | +0.2 | 143 | 10 |" in text
    assert "**1 of 1 comparisons at the present state show a gain.**" in text
    assert "stale**" not in text


@pytest.mark.parametrize("name", ["code", "params", "protocol"])
def test_a_row_of_another_state_is_marked_as_stale_and_counts_for_nothing(
    told: Protocol, results: Path, name: str
) -> None:
    write_all(told, gained=0.02, **{name: "another"})
    found = rows.rows_of(first_table(told), "bccd", told)
    assert [row.stale for row in found.rows] == [(name,), (name,)]
    text = page.page([found], [], told)
    assert f"gains **stale**: {name} |" in text
    assert "Nothing has been compared at the present state" in text


def test_other_data_and_another_teacher_make_stale(told: Protocol, results: Path) -> None:
    run = Run("student", "bccd", HEADS, seed=0)
    write(told, run)
    write(told, Run("prepare", "bccd"), test="other")
    write(told, Run("teacher", "bccd"), teacher="another")
    result = rows.result_of(run, told)
    assert result is not None
    assert set(result.stale) == {"test", "teacher"}


def test_other_predictions_make_those_stale_who_read_them(told: Protocol, results: Path) -> None:
    reading, other = (Run("student", "bccd", variant, seed=0) for variant in ("predictions", HEADS))
    for run in (reading, other):
        write(told, run, predictions="old")
    write(told, Run("predictions", "bccd"), predictions="new")
    assert [rows.result_of(run, told).stale for run in (reading, other)] == [("predictions",), ()]


@pytest.mark.parametrize("name", ["code", "params", "protocol", "data", "test", "teacher"])
def test_results_of_two_states_are_refused_in_one_table(told: Protocol, results: Path, name: str) -> None:
    write_all(told, gained=0.02)
    write(told, Run("student", "bccd", HEADS, seed=2), **{name: "another"})
    found = [
        rows.result_of(Run("student", "bccd", variant, seed=seed), told)
        for variant in (CONTROL, HEADS)
        for seed in range(3)
    ]
    with pytest.raises(rows.MixedRowsError, match=f"student-bccd-teacher-heads-2 and .* differ in {name}: another"):
        rows.rows_together(first_table(told), [one for one in found if one])


def test_stale_results_give_way_and_stale_ones_of_two_states_are_refused(told: Protocol, results: Path) -> None:
    write_all(told, gained=0.02)
    write(told, Run("student", "bccd", HEADS, seed=2), code="old")
    found = rows.rows_of(first_table(told), "bccd", told)
    assert [len(row.results) for row in found.rows] == [3, 2]
    assert "Stale, and not in the table: student-bccd-teacher-heads-2." in page.page([found], [], told)
    write_all(told, gained=0.02, code="old")
    write(told, Run("student", "bccd", HEADS, seed=2), code="older")
    found = rows.rows_of(first_table(told), "bccd", told)
    assert not found.rows
    assert "**Refused: results of different states do not stand in one table.**" in page.page([found], [], told)


def test_what_is_not_there_is_listed(told: Protocol, results: Path) -> None:
    write(told, Run("student", "bccd", HEADS, seed=0))
    found = rows.rows_of(first_table(told), "bccd", told)
    text = page.page([found], [], told)
    assert (
        "- a table, bccd: teacher-labels (seeds 0, 1, 2); teacher-heads (seeds 1, 2)" in text.partition("## Not run")[2]
    )
    assert "The control was not run, so nothing is compared." in text


def test_a_part_of_the_labels_is_compared_with_all_of_them(told: Protocol, results: Path) -> None:
    table = protocol.Table(title="labels", group="labels", control="labels-twice", variants=["unlabelled"])
    for seed in range(3):
        write(told, Run("student", "bccd-50", "labels-twice", seed=seed), 0.4)
        write(told, Run("student", "bccd-50", "unlabelled", seed=seed), 0.48)
        write(told, Run("student", "bccd", CONTROL, seed=seed), 0.5)
    text = page.page([rows.rows_of(table, "bccd-50", told)], [], told)
    assert "With all labels, labels: 50.0 ± 0.0. Of that: labels 80.0%;" in text
    assert "96.0%." in text
    write(told, Run("student", "bccd", CONTROL, seed=0), 0.5, test="other images")
    assert "With all labels" not in page.page([rows.rows_of(table, "bccd-50", told)], [], told)


def test_a_comparison_that_stands_in_two_tables_counts_once(told: Protocol, results: Path) -> None:
    write_all(told, gained=0.02)
    files = protocol.Table(title="files", group="files", control=CONTROL, variants=[HEADS, "predictions"])

    def text() -> str:
        return page.page([rows.rows_of(table, "bccd", told) for table in (first_table(told), files)], [], told)

    assert "**1 of 1 comparisons at the present state show a gain.**" in text()
    assert "## files" not in text(), "none of its own variants was run"
    assert "evidence-labels.png" not in text(), "no part of the labels was tried"
    for seed in told.runs["files"].seed:
        write(told, Run("student", "bccd", "predictions", seed=seed), 0.5 + seed / 100)
    assert "**1 of 2 comparisons at the present state show a gain.**" in text()
    assert "## files" in text()


def test_a_class_is_compared_alone(told: Protocol, results: Path) -> None:
    names = [without, heads] = ["without-3-labels", "without-3-heads"]
    table = protocol.Table(title="told", group="withheld-digits", control=without, variants=[heads], of_class="3")
    for seed in range(3):
        write(told, Run("student", "digits", without, seed=seed), 0.7)
        write(told, Run("student", "digits", heads, seed=seed), 0.7, of_class=0.5 + seed / 100)
    found = rows.rows_of(table, "digits", told)
    text = page.page([found], [], told)
    assert [row.variant for row in found.rows] == names
    assert "| variant | seeds | val | test | test, class 3 | against the control | |" in text
    assert "| heads | 3 | 70.0 ± 0.0 | 70.0 ± 0.0 | 51.0 ± 1.0 | +51.0 [" in text
    assert "] | gains | +0.2 | 143 | 10 |" in text
    assert found.rows[1].gained is not None
    assert 0.48 < found.rows[1].gained.low < found.rows[1].gained.gained < found.rows[1].gained.high < 0.54
    assert "Compared is class 3 alone" in text


def test_sealed_images_are_not_read_before_they_are_opened_and_once(
    told: Protocol, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    shown = replace(told, runs={"student": protocol.Group(data=["bccd"], variant=[CONTROL, HEADS], seed=[0, 1])})
    accuracy = {"map50_95": 0.5, "images": 24}

    def measure(weights: Path, prepared: Path, *rest: Any) -> Measured:
        read.append(prepared)
        return Measured(accuracy, Scores(0.5, np.full(DRAWS, 0.5)))

    def write_opening(begun: Begun, *, facts: dict[str, Any], **digests: Any) -> None:
        write(told, begun.run)
        content = json.loads(begun.run.result.read_text())
        begun.run.result.write_text(json.dumps({**content, **facts}))

    monkeypatch.setattr(opening, "measure", measure)
    monkeypatch.setattr(opening, "write_result", write_opening)
    monkeypatch.setattr(opening, "digest", lambda path: path.name)
    monkeypatch.setattr(opening, "split_digest", lambda path, split: split)
    monkeypatch.setattr(running, "load", lambda: shown)
    monkeypatch.setattr("sys.argv", ["opening", "bccd"])
    opening.main()
    assert not read, "sealed.open is false"
    shown = replace(shown, sealed=replace(told.sealed, open=True))
    opening.main()
    assert {path.parts[-3] for path in read} == {"sealed"}
    write(told, Run("prepare", "bccd"))
    content = json.loads(Run("prepare", "bccd").result.read_text())
    Run("prepare", "bccd").result.write_text(json.dumps({**content, "sealed": 24}))
    text = page.page([], [], shown).partition("## Sealed")[2]
    assert "- bccd: 24 images, opened at commit 0000000000" in text
    assert "  - heads: 50.0 ± 0.0, +0.0 [+0.0, +0.0] within noise" in text
    with pytest.raises(UserError, match="were read at commit 0000000000: they are read once"):
        opening.main()


def test_a_chain_is_compared_with_its_float_network_and_with_the_control(told: Protocol, results: Path) -> None:
    (table,) = told.chain_tables
    write(told, Run("teacher", "bccd"), 0.6)
    for seed in range(3):
        write_chain(told, table.control, seed, fp32=0.5, int8=0.49)
        write_chain(told, "relu-heads/pruned", seed, fp32=0.55, int8=0.54)
    found = chain_rows.chain_rows_of(table, "bccd", told)
    assert [row.name for row in found.rows] == [table.control, "relu-heads/pruned"]
    text = page.page([], [found], told)
    assert (
        "| 3 | 55.0 ± 0.0 | 54.0 ± 0.0 | -1.0 [-1.0, -1.0] | +5.0 [+5.0, +5.0] | gains | 90.0% | 143 | 2.00, 2.00 |  |"
        in text
    )
    assert "lower-longer/int8 (seeds 0, 1, 2)" in text.partition("## Not run")[2]


def test_a_speed_is_a_ratio_in_each_process_in_the_runtime_that_suits(told: Protocol, results: Path) -> None:
    (table,) = told.chain_tables
    write_chain(told, table.control, 0, fp32=0.5, int8=0.49, int8_digest="a network")
    write(told, Run("latency", "bccd"))
    content = json.loads(Run("latency", "bccd").result.read_text())
    name = f"{table.control}/int8"
    times = {"teacher": {"a": [20, 22, 24], "b": [20, 20, 20]}, name: {"a": [2, 2, 2], "b": [3, 3, 3]}}
    machine = {"cpu": "a CPU", "flags": ["avx2"]}
    timed = {**content, "p50_ms": times, "networks": {name: "a network"}, "machine": machine}
    Run("latency", "bccd").result.write_text(json.dumps(timed))
    text = page.page([], [chain_rows.chain_rows_of(table, "bccd", told)], told)
    assert "| 2.00 ms [2.00, 2.00], 11 times [10, 12] in a |" in text
    Run("latency", "bccd").result.write_text(json.dumps({**timed, "networks": {name: "another network"}}))
    assert "times [" not in page.page([], [chain_rows.chain_rows_of(table, "bccd", told)], told)


def test_a_chain_is_stale_with_its_student_and_is_refused_beside_other_code(told: Protocol, results: Path) -> None:
    (table,) = told.chain_tables
    write_chain(told, table.control, 0, fp32=0.5, int8=0.49)
    write(told, Run("student", "bccd", "plain-longer", seed=0), weights="trained again")
    found = chain_rows.chain_rows_of(table, "bccd", told)
    assert found.rows[0].stale == ("student",)
    weights = Run("student", "bccd", "plain-longer", seed=0).name
    write(told, Run("student", "bccd", "plain-longer", seed=0), weights=weights)
    assert chain_rows.chain_rows_of(table, "bccd", told).rows[0].stale == ()
    write(told, Run("student", "bccd", "plain-longer", seed=0), weights=weights, code="old")
    assert chain_rows.chain_rows_of(table, "bccd", told).rows[0].stale == ("student",), "it is stale itself"
    for seed, code in enumerate(["old", "older"]):
        write_chain(told, table.control, seed, fp32=0.5, int8=0.49, code=code)
    assert "differ in code" in str(chain_rows.chain_rows_of(table, "bccd", told).refused)


def test_a_damaged_result_is_named(told: Protocol, results: Path) -> None:
    run = Run("student", "bccd", HEADS, seed=0)
    run.result.write_text("<<<<<<<")
    with pytest.raises(UserError, match=r"student-bccd-teacher-heads-0\.json: no JSON"):
        runs.content_of(run)
