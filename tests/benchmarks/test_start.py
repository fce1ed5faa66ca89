"""The benchmark of a student's starts, on a tiny dataset, with stages that only check their settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from ultralytics import YOLO

from benchmarks import start as subject
from src import PROJECT
from src.config.composition import register, typed
from src.foundation.errors import UserError
from tests.benchmarks.test_pages import row
from tests.stages import small_project


def task_of(folder: Path, teacher: str = "yolov8s", student: str = "yolov8n") -> subject.Task:
    for name in (teacher, student):
        YOLO(f"{name}.yaml").save(folder / f"{name}.pt")
    files = folder / f"{teacher}.pt", folder / f"{student}.pt"
    return subject.Task("yolo", folder, 64, "yolov8s", "yolov8n", *files, teacher_epochs=1, epochs=1, settings=())


@pytest.mark.slow
def test_every_start_is_trained_once_and_compared_with_a_plain_fine_tuning(
    tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    project = small_project(tmp_path / "project", prepared)
    task = task_of(tmp_path)
    asked: list[tuple[str | None, str]] = []

    def taught(folder: Path, root: Path, epochs: int, settings: list[str], data: str) -> Path:
        register(["train_teacher"])
        params = typed("train_teacher", compose("train_teacher", settings))
        assert (params.teacher.weights, params.imgsz) == (str(task.teacher_weights), 64)
        return project

    def stage(of: Path, name: str, *overrides: str) -> None:
        *settings, output = overrides
        register([name])
        params = typed(name, compose(name, settings))
        asked.append((params.student.weights, type(params.teaching).__name__))
        trained = Path(output.removeprefix("hydra.run.dir=")) / "models/student.pt"
        trained.parent.mkdir(parents=True)
        shutil.copy(of / "models/student.pt", trained)

    monkeypatch.setattr(subject, "taught_project", taught)
    monkeypatch.setattr(subject, "run_stage", stage)
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        results = subject.measured(task, tmp_path, 2)
        monkeypatch.setattr(subject, "_plain", lambda *arguments: pytest.fail("trained again"))
        assert subject.measured(task, tmp_path, 2) == results
    own = str(task.student_weights)
    once = [(weights, kind) for weights in (own, "teacher", None) for kind in ("Offline", "HardTargets")]
    assert asked == once * 2
    page = subject.page(task, results)
    assert row(page, subject.PLAIN)[0] == "2"
    assert page.count("| 2 |") == 7


def test_start_chooses_on_val_and_reports_test() -> None:
    task = subject.Task("mine", Path(), 64, "yolov8s", "yolov8n", Path("s.pt"), Path("n.pt"), 1, 1, ())
    scores = {subject.PLAIN: (0.9, 0.50), "scratch": (0.2, 0.9), "own": (0.8, 0.52), "teacher": (0.7, 0.6)}
    starts = {"scratch": subject.SCRATCH, "own": subject.OWN, "teacher": subject.CHANNELS}
    results = {
        title: [{"val": val, "test": test + noise, "minutes": 1.0} for noise in (0.0, 0.01)]
        for start, (val, test) in scores.items()
        for title in ([start] if start == subject.PLAIN else [f"{starts[start]}, {each}" for each in subject.TEACHING])
    }
    page = subject.page(task, results)
    assert row(page, subject.PLAIN) == ["2", "90.0 ± 0.0", "50.5 ± 0.7", "", "1.0"]
    assert f"The best start on val: {subject.OWN}, {subject.DISTILLED}. On test it differs from" in page
    assert "labels alone: its teacher's channels instead of its own pretrained weights, on test: +8.0" in page


def test_files_that_do_not_suit_are_all_told_before_anything_is_trained(tmp_path: Path) -> None:
    task = task_of(tmp_path, teacher="yolo11s", student="yolov8n")
    (tmp_path / "yolov8n.pt").write_text("<html></html>")
    with pytest.raises(UserError) as raised:
        subject.expect_files(task)
    first, second = str(raised.value).splitlines()
    assert "yolo11s.pt, for yolov8s.yaml: the initial weights are of another architecture" in first
    assert "yolov8n.pt: not a checkpoint" in second
