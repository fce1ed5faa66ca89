"""The evidence: its protocol, what makes a row stale, what may stand in one table, and the words for a difference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.evidence import EVIDENCE, opening, page, protocol, rows, running, settings
from benchmarks.evidence.everything import _present
from benchmarks.evidence.intervals import paired_difference
from benchmarks.evidence.measuring import Measured, to_text
from benchmarks.evidence.protocol import Protocol, Run
from benchmarks.evidence.running import Begun
from benchmarks.evidence.sealing import seal, split_digest
from benchmarks.evidence.student import has_teacher
from src.evaluation.bootstrap import DRAWS, Difference, Scores
from src.foundation.errors import UserError
from src.foundation.prepared import images_of
from src.labels.digits import compose_scenes
from src.labels.layout import write_yolo

DVC_YAML = yaml.safe_load((EVIDENCE / "dvc.yaml").read_text())["stages"]
CONTROL, HEADS = "teacher-labels", "teacher-heads"


@pytest.fixture(scope="module")
def told() -> Protocol:
    return protocol.load()


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of results."""
    monkeypatch.setattr(protocol, "RESULTS", tmp_path)
    return tmp_path


def write(told: Protocol, run: Run, map50_95: float = 0.5, **digests: str) -> None:
    """Write the result of a run at the present state, but for some digests."""
    planned = settings.plan_of(run, told).content
    data = {"data": "d", "test": "t", "teacher": "m", "weights": run.name}
    accuracy = {"map50_95": map50_95, "images": 48}
    made = {"commit": "0" * 40, "changed_since_commit": False, "cpu": "a CPU", "device": "cpu", "threads": 2}
    content = {
        "run": planned["run"],
        "computed_by": planned["computed_by"],
        "digests": {**planned["digests"], **data, **digests},
        "epochs": {"own": 60, "best": 50, "below": 83},
        "converged": True,
        "minutes": 10.0,
        "val": accuracy,
        "test": accuracy,
        "draws": to_text(Scores(map50_95, np.full(DRAWS, map50_95))),
        "made": {**made, "precision": "bfloat16"},
    }
    run.result.write_text(json.dumps(content))


def first_table(told: Protocol) -> protocol.Table:
    return protocol.Table(title="a table", group="student", control=CONTROL, variants=[HEADS])


def write_all(told: Protocol, gained: float, **digests: str) -> None:
    for seed in told.runs["student"].seed:
        write(told, Run("student", "bccd", CONTROL, seed), 0.5 + seed / 100, **digests)
        write(told, Run("student", "bccd", HEADS, seed), 0.5 + seed / 100 + gained, **digests)


# The protocol and dvc.yaml.


def test_every_computing_stage_depends_on_its_plan_and_writes_its_result() -> None:
    for name in ("prepare", "teacher", "student", "labels", "opening"):
        stage = DVC_YAML[name].get("do", DVC_YAML[name])
        kind, key = ("student" if name == "labels" else name), ("item" if name == "opening" else "key")
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
    found = protocol.steps(told)
    assert sorted(stage for step in found for stage in step) == sorted(protocol.stages(told))
    assert {stage.split("@")[1].rsplit("-", 1)[0] for stage in found[0]} == {
        f"{data}-{variant}" for data in ("bccd", "cards", "digits") for variant in (CONTROL, HEADS)
    }
    assert protocol.steps(told, ["labels@bccd-50-*-0"]) == [
        ["labels@bccd-50-labels-twice-0", "labels@bccd-50-unlabelled-0"]
    ]


def test_stages_whose_folder_is_not_here_are_left_out_and_named(
    told: Protocol, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = {**told.datasets, "bccd": replace(told.datasets["bccd"], root="nowhere/bccd")}
    wanted = [["student@bccd-teacher-heads-0"], ["student@digits-teacher-heads-0"]]
    assert _present(wanted, replace(told, datasets=datasets)) == [["student@digits-teacher-heads-0"]]
    assert "left out: nowhere/bccd is not there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"seeds": [1]}, "seeds", id="an unknown key"),
        pytest.param({"runs": {"student": {"data": ["x"], "variant": ["y"], "seed": [0]}}}, "x is not in", id="data"),
        pytest.param({"sealed": {"share": "much"}}, "much", id="a wrong type"),
    ],
)
def test_a_wrong_protocol_is_refused(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    content = yaml.safe_load(protocol.PARAMS.read_text())
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=fault):
        protocol.load(tmp_path / "params.yaml")


def test_a_run_that_the_protocol_does_not_have_is_refused(told: Protocol) -> None:
    with pytest.raises(UserError, match="student-bccd: the protocol has no such run"):
        protocol.asked(told, "student", ["bccd"])


# What a run depends on.


def test_ways_of_teaching_are_other_settings_and_seeds_are_not(told: Protocol) -> None:
    labels, other_seed, heads = (
        settings.plan_of(Run("student", "bccd", variant, seed), told)
        for variant, seed in ((CONTROL, 0), (CONTROL, 1), (HEADS, 0))
    )
    assert labels.params == other_seed.params != heads.params
    assert labels.protocol == heads.protocol
    assert labels.code == heads.code


def test_ultralytics_distillation_is_other_code(told: Protocol) -> None:
    ours, theirs = (
        settings.plan_of(Run("student", "bccd", variant, 0), told) for variant in (HEADS, "teacher-ultralytics")
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
    quarter = settings.plan_of(Run("student", "bccd", "quarter-heads", 0), told).settings["epochs"]
    twice = settings.plan_of(Run("student", "bccd-50", "labels-twice", 0), told).settings["epochs"]
    assert (quarter, twice) == (told.datasets["bccd"].epochs // 4, 2 * told.datasets["bccd-50"].epochs)


@pytest.mark.parametrize(
    ("variant", "expected"), [("scratch-labels", False), ("scratch-heads", True), (CONTROL, True), ("unlabelled", True)]
)
def test_what_stands_on_a_teacher_counts_its_epochs(told: Protocol, variant: str, expected: bool) -> None:
    overrides = settings.overrides_of(Run("student", "bccd", variant, 0), told)
    params = settings.typed_params("distill", overrides)
    assert has_teacher(params, distill_model=False) is expected


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
    text = page.page([found], told)
    assert "| heads | 3 | 53.0 ± 1.0 | 53.0 ± 1.0 | +2.0 [+2.0, +2.0] | gains | 143 | 10 |" in text
    assert "**1 of 1 comparisons at the present state show a gain.**" in text
    assert "stale**" not in text


@pytest.mark.parametrize("name", ["code", "params", "protocol"])
def test_a_row_of_another_state_is_marked_as_stale_and_counts_for_nothing(
    told: Protocol, results: Path, name: str
) -> None:
    write_all(told, gained=0.02, **{name: "another"})
    found = rows.rows_of(first_table(told), "bccd", told)
    assert [row.stale for row in found.rows] == [(name,), (name,)]
    text = page.page([found], told)
    assert f"gains **stale**: {name} |" in text
    assert "Nothing has been compared at the present state" in text


def test_other_data_and_another_teacher_make_stale(told: Protocol, results: Path) -> None:
    run = Run("student", "bccd", HEADS, 0)
    write(told, run)
    write(told, Run("prepare", "bccd"), test="other")
    write(told, Run("teacher", "bccd"), teacher="another")
    result = rows.result_of(run, told)
    assert result is not None
    assert set(result.stale) == {"test", "teacher"}


@pytest.mark.parametrize("name", ["code", "params", "protocol", "data", "test", "teacher"])
def test_results_of_two_states_are_refused_in_one_table(told: Protocol, results: Path, name: str) -> None:
    write_all(told, gained=0.02)
    write(told, Run("student", "bccd", HEADS, 2), **{name: "another"})
    found = [
        rows.result_of(Run("student", "bccd", variant, seed), told) for variant in (CONTROL, HEADS) for seed in range(3)
    ]
    with pytest.raises(rows.MixedRowsError, match=f"student-bccd-teacher-heads-2 and .* differ in {name}: another"):
        rows.rows_together(first_table(told), [one for one in found if one])


def test_stale_results_give_way_and_stale_ones_of_two_states_are_refused(told: Protocol, results: Path) -> None:
    write_all(told, gained=0.02)
    write(told, Run("student", "bccd", HEADS, 2), code="old")
    found = rows.rows_of(first_table(told), "bccd", told)
    assert [len(row.results) for row in found.rows] == [3, 2]
    assert "Stale, and not in the table: student-bccd-teacher-heads-2." in page.page([found], told)
    write_all(told, gained=0.02, code="old")
    write(told, Run("student", "bccd", HEADS, 2), code="older")
    found = rows.rows_of(first_table(told), "bccd", told)
    assert not found.rows
    assert "**Refused: results of different states do not stand in one table.**" in page.page([found], told)


def test_what_is_not_there_is_listed(told: Protocol, results: Path) -> None:
    write(told, Run("student", "bccd", HEADS, 0))
    found = rows.rows_of(first_table(told), "bccd", told)
    text = page.page([found], told)
    assert (
        "- a table, bccd: teacher-labels (seeds 0, 1, 2); teacher-heads (seeds 1, 2)" in text.partition("## Not run")[2]
    )
    assert "The control was not run, so nothing is compared." in text


def test_a_part_of_the_labels_is_compared_with_all_of_them(told: Protocol, results: Path) -> None:
    table = protocol.Table(title="labels", group="labels", control="labels-twice", variants=["unlabelled"])
    for seed in range(3):
        write(told, Run("student", "bccd-50", "labels-twice", seed), 0.4)
        write(told, Run("student", "bccd-50", "unlabelled", seed), 0.48)
        write(told, Run("student", "bccd", CONTROL, seed), 0.5)
    text = page.page([rows.rows_of(table, "bccd-50", told)], told)
    assert "With all labels, labels: 50.0 ± 0.0. Of that: labels 80.0%;" in text
    assert "96.0%." in text
    write(told, Run("student", "bccd", CONTROL, 0), 0.5, test="other images")
    assert "With all labels" not in page.page([rows.rows_of(table, "bccd-50", told)], told)


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
    text = page.page([], shown).partition("## Sealed")[2]
    assert "- bccd: 24 images, opened at commit 0000000000" in text
    assert "  - heads: 50.0 ± 0.0, +0.0 [+0.0, +0.0] within noise" in text
    with pytest.raises(UserError, match="were read at commit 0000000000: they are read once"):
        opening.main()


def test_a_damaged_result_is_named(told: Protocol, results: Path) -> None:
    run = Run("student", "bccd", HEADS, 0)
    run.result.write_text("<<<<<<<")
    with pytest.raises(UserError, match=r"student-bccd-teacher-heads-0\.json: no JSON"):
        protocol.content_of(run)
