from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from ultralytics import YOLO

from src import PROJECT, train_teacher
from src.config.composition import register, typed
from src.foundation.errors import UserError
from src.trainings import later_stages as subject
from src.trainings.later_stages import expect_later_stages
from src.workflow.stage_files import StageFiles
from tests.stages import Diary, trained_with

SCRATCH = "student.weights=null"
NAMES = ["ace", "two"]


@pytest.fixture(autouse=True)
def _in_hydra() -> Iterator[None]:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        yield


def settings_with(monkeypatch: pytest.MonkeyPatch, *overrides: str, prune: tuple[str, ...] = ()) -> None:
    """Let the pipeline have other settings of distill, and of prune."""
    changes = {"distill": overrides, "prune": prune}
    monkeypatch.setattr(subject, "compose", lambda stage: compose(stage, list(changes[stage])))


def test_the_default_pipeline_is_accepted() -> None:
    expect_later_stages("yolov8s.yaml", NAMES, PROJECT)


@pytest.mark.parametrize(
    ("teacher", "overrides", "message"),
    [
        pytest.param(
            "yolov8s.yaml",
            ["student.architecture=yolo26n.yaml", SCRATCH],
            r"^distill\.distillation\.localization compares box distributions, and the student's head has none",
            id="no box distributions",
        ),
        pytest.param(
            "yolov8s.yaml",
            ["student.architecture=yolov8n-p2.yaml", SCRATCH],
            "student predicts at other locations than its teacher",
            id="other strides",
        ),
        pytest.param(
            "yolov8s.yaml",
            ["student.architecture=yolov9t.yaml", SCRATCH],
            "prune: torch-pruning cannot trace this architecture",
            id="not prunable",
        ),
        pytest.param(
            "yolov8s.yaml", ["student.architecture=yolo11n.yaml"], "cannot be the teacher's for yolo11n", id="weights"
        ),
        pytest.param(
            "yolov8s-p6.yaml",
            ["student.architecture=yolov8n-p6.yaml", SCRATCH],
            "must be a multiple of 64, the coarsest stride",
            id="side",
        ),
        pytest.param(
            "yolov8s.yaml",
            ["teaching=assistants", "teaching.chain=[yolo26n.yaml]"],
            "localization compares box distributions",
            id="assistants",
        ),
        pytest.param(
            "yolov8s.yaml",
            ["teaching=ensemble", "teaching.others=[yolov8n-p2.yaml]"],
            "must have heads with the same strides",
            id="ensemble",
        ),
        pytest.param(
            "yolov8s.yaml",
            ["withheld_classes=[six]"],
            r"^distill\.withheld_classes must name classes of the dataset \(ace, two\), got six",
            id="an unknown class",
        ),
    ],
)
def test_what_a_later_stage_refuses_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, teacher: str, overrides: list[str], message: str
) -> None:
    settings_with(monkeypatch, *overrides)
    with pytest.raises(UserError, match=message) as raised:
        expect_later_stages(teacher, NAMES, PROJECT)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        pytest.param(None, r"student\.pt: there is no such file", id="no file"),
        pytest.param(
            "yolo11n", r"student\.pt, for yolov8n\.yaml: the initial weights are of another", id="another family"
        ),
        pytest.param("yolov8n-seg", r"student\.pt: expected an ultralytics detection model", id="another task"),
        pytest.param("yolov8n", None, id="its own"),
    ],
)
def test_the_weights_of_the_student_are_read_before_the_teacher_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, architecture: str | None, message: str | None
) -> None:
    if architecture:
        YOLO(f"{architecture}.yaml").save(tmp_path / "student.pt")
    settings_with(monkeypatch, "student.weights=student.pt")
    with pytest.raises(UserError, match=message) if message else nullcontext():
        expect_later_stages("yolov8s.yaml", NAMES, tmp_path)


def test_fine_tuning_after_pruning_compares_with_the_teacher_too(monkeypatch: pytest.MonkeyPatch) -> None:
    student = ["student.architecture=yolo26n.yaml", SCRATCH]
    settings_with(monkeypatch, *student, "distillation=response")
    with pytest.raises(UserError, match=r"^prune\.distillation\.localization compares box"):
        expect_later_stages("yolov8s.yaml", NAMES, PROJECT)
    settings_with(monkeypatch, *student, "distillation=response", prune=("distillation=response",))
    expect_later_stages("yolov8s.yaml", NAMES, PROJECT)


def test_labels_alone_need_no_suitable_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    settings_with(monkeypatch, "student.architecture=yolo26n.yaml", SCRATCH, "alpha=0", prune=("alpha=0",))
    expect_later_stages("yolov8s.yaml", NAMES, PROJECT)


def test_train_teacher_refuses_before_it_trains_in_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prepared: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/prepared").symlink_to(prepared)
    trainings = trained_with(monkeypatch)
    register(["train_teacher"])
    params = typed("train_teacher", compose("train_teacher", ["epochs=1", "threads=1"]))
    settings_with(monkeypatch, "student.architecture=yolov8n-p2.yaml", SCRATCH)
    with pytest.raises(UserError, match="predicts at other locations"):
        train_teacher.run(params, StageFiles("train_teacher", tmp_path, tmp_path), Diary())
    assert not trainings
