from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from src import PROJECT, distill
from src.config.composition import register, typed
from src.config.distill import Distill
from src.detector.checkpoint import ARCHITECTURES, load_detector
from src.detector.trainer import ResumableTrainer
from src.foundation.errors import UserError
from src.trainings.job import TrainingJob
from src.workflow.stage_files import StageFiles
from tests.stages import TINY, Diary, detector, small_project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path, prepared: Path) -> Path:
    return small_project(tmp_path, prepared)


def settings(*overrides: str) -> Distill:
    register()
    given = [*(f"{key}={value}" for key, value in TINY.items()), "student.weights=null", *overrides]
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        params = typed("distill", compose("distill", given))
    assert isinstance(params, Distill)
    return params


def distilled(project: Path, *overrides: str, output: str = "out") -> tuple[Any, Diary, StageFiles]:
    files, log = StageFiles("distill", project, project / output), Diary()
    return distill.run(settings(*overrides), files, log).metrics, log, files


@pytest.mark.parametrize("changed", [0, 1, None])
def test_another_content_of_an_architecture_starts_its_trainings_anew(
    project: Path, changed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [project / "own-0.yaml", project / "own-1.yaml"]
    for path in own:
        path.write_text((ARCHITECTURES / "v8/yolov8.yaml").read_text())
    found: list[bool] = []

    def interrupted(job: TrainingJob, *arguments: object, **options: object) -> None:
        found.append((job.checkpoints / "state.pt").exists())
        (job.checkpoints / "state.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingJob, "train_helper", interrupted)
    overrides = [f"student.architecture={own[0]}", "teaching=ensemble", f"teaching.others=[{own[1]}]"]
    with pytest.raises(KeyboardInterrupt):
        distilled(project, *overrides)
    if changed is not None:
        own[changed].write_text(own[changed].read_text() + "activation: nn.ReLU()\n")
    with pytest.raises(KeyboardInterrupt):
        distilled(project, *overrides)
    assert found == [False, changed is None]


@pytest.mark.parametrize(
    ("overrides", "below", "reads"),
    [
        pytest.param(["teaching=offline"], [], {"models/teacher.pt"}, id="offline"),
        pytest.param(["teaching=offline", "alpha=0"], [], set(), id="alpha 0 needs no teacher"),
        pytest.param(
            ["teaching=ensemble", "teaching.others=[yolo11n.yaml]"], ["other-1"], {"models/teacher.pt"}, id="ensemble"
        ),
        pytest.param(
            ["teaching=assistants", "teaching.chain=[yolov8n.yaml,yolo11n.yaml]", "distillation=heads_feature"],
            ["assistant-1", "assistant-2"],
            {"models/teacher.pt"},
            id="assistants",
        ),
        pytest.param(
            ["teaching=born_again", "teaching.generations=2"], ["generation-0", "generation-1"], set(), id="born again"
        ),
        pytest.param(["teaching=mean_teacher"], [], set(), id="mean teacher"),
        pytest.param(["teaching=mutual", "teaching.peer=yolo11n.yaml"], [], set(), id="mutual"),
        pytest.param(["teaching=unlabelled"], [], {"models/teacher.pt", "data/unlabelled"}, id="unlabelled"),
        pytest.param(["teaching=predictions"], [], {"data/predictions", "data/unlabelled"}, id="predictions"),
        pytest.param(["teaching=predictions", "alpha=0"], [], set(), id="alpha 0 needs no predictions"),
        pytest.param(["teaching=label_smoothing"], [], set(), id="label smoothing"),
        pytest.param(["teaching=hard"], [], set(), id="hard"),
        pytest.param(
            ["teaching=hard", "student.weights=teacher"],
            [],
            {"models/teacher.pt"},
            id="teacher for initial weights only",
        ),
    ],
)
def test_every_way_of_teaching_gives_a_student(
    project: Path, overrides: list[str], below: list[str], reads: set[str]
) -> None:
    metrics, log, files = distilled(project, *overrides)
    assert metrics["epochs"] == 1
    assert log.below == below
    assert {f"{name}.pt" for name in below} <= set(log.kept)
    assert set(files.inputs) == {"data/prepared", *reads}
    student = load_detector(project / "out/models/student.pt")
    assert list(student.names.values()) == list("0123456789")
    assert not [path for path in (project / ".checkpoints").iterdir() if path.suffix != ".lock"]


def test_alpha_zero_equals_teaching_hard_to_the_bit(project: Path) -> None:
    distilled(project, "alpha=0", output="alpha")
    distilled(project, "teaching=hard", output="hard")
    students = [(project / output / "models/student.pt").read_bytes() for output in ("alpha", "hard")]
    assert students[0] == students[1]


def test_the_control_is_trained_on_the_labels_alone_and_resumes_at_its_epoch(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["epochs=2", "control=always"]
    labels, _, _ = distilled(project, "epochs=2", "alpha=0", output="labels")
    save, epochs = ResumableTrainer.save_model, list[tuple[str, int]]()

    def recorded(trainer: ResumableTrainer) -> bool:
        epochs.append((trainer.extras.checkpoint.name, trainer.epoch))
        saved = save(trainer)
        if epochs == [("state.pt", 0), ("state.pt", 1), ("control.state.pt", 0)]:
            raise KeyboardInterrupt
        return saved

    monkeypatch.setattr(ResumableTrainer, "save_model", recorded)
    with pytest.raises(KeyboardInterrupt):
        distilled(project, *given, output="killed")
    del epochs[:]
    metrics, log, _ = distilled(project, *given, output="again")
    assert epochs == [("control.state.pt", 1)]
    assert log.below == ["control"]
    assert metrics["control"] == {key: labels[key] for key in ("val", "best_epoch", "epochs")}
    control, of_labels, student, killed = (
        (project / path).read_bytes()
        for path in (
            "again/models/control/control.pt",
            "labels/models/student.pt",
            "again/models/student.pt",
            "killed/models/student.pt",
        )
    )
    assert control == of_labels != student == killed


def score_biases(path: Path) -> torch.Tensor:
    """Return the biases of class scores, (levels, C). One without a gradient stays as it is: biases do not decay."""
    return torch.stack([branch[-1].bias for branch in load_detector(path).model[-1].cv3])


def test_labels_of_withheld_classes_reach_the_student_through_its_teacher_alone(project: Path) -> None:
    detector(project / "data/prepared", project / "untrained.pt", 0)
    untrained = score_biases(project / "untrained.pt")
    given = ["withheld_classes=[3]", "control=always"]
    metrics, _, _ = distilled(project, *given)
    assert metrics["withheld_classes"] == ["3"]
    student, control = (
        score_biases(project / "out/models" / name) != untrained for name in ("student.pt", "control/control.pt")
    )
    assert student.any(dim=0).all()
    assert control.any(dim=0).tolist() == [name != "3" for name in "0123456789"]
    metrics, _, _ = distilled(project, *given, "alpha=0", output="labels")
    assert metrics["control"] is None, "it is its own"
    assert (project / "labels/models/student.pt").read_bytes() == (
        project / "out/models/control/control.pt"
    ).read_bytes()


def test_a_student_and_its_generations_start_with_the_teachers_weights(project: Path) -> None:
    """As wide as the teacher and trained at a tiny learning rate, they still have all of its weights."""
    given = ["student.weights=teacher", "teaching=born_again", "lr0=1e-9", "warmup_epochs=0"]
    _, log, _ = distilled(project, *given)
    generation = project / "generation.pt"
    generation.write_bytes(log.kept["generation-0.pt"])
    taught = dict(load_detector(project / "models/teacher.pt").named_parameters())
    for path in (generation, project / "out/models/student.pt"):
        own = dict(load_detector(path).named_parameters())
        assert all(torch.allclose(own[name], weights, atol=1e-6) for name, weights in taught.items())


def test_weights_with_and_without_cache_agree_to_the_bit(project: Path) -> None:
    weights = []
    for run, cache in enumerate(["never", "always", "always"]):
        overrides = [f"cache={cache}", "distillation=heads_channel_wise", "epochs=2"]
        distilled(project, *overrides, output=str(run))
        weights.append((project / str(run) / "models/student.pt").read_bytes())
    entries = list((project / ".cache/teacher").iterdir())
    assert len(entries) == 2 * 3, "two epochs of three batches; the third run reads them"
    assert weights[0] == weights[1] == weights[2]


def test_answers_of_an_ensemble_are_cached_by_its_weighting(project: Path) -> None:
    def answers(weighting: str) -> set[Path]:
        ensemble = ["teaching=ensemble", "teaching.others=[yolov8n.yaml]", f"teaching.weighting={weighting}"]
        distilled(project, *ensemble, "cache=always")
        return set((project / ".cache/teacher").glob("*.pt"))

    of_the_mean = answers("mean")
    assert len(answers("confidence")) == 2 * len(of_the_mean) > 0


def test_cache_sweep_writes_no_cache_outside_a_sweep(project: Path) -> None:
    distilled(project, "cache=sweep")
    assert not (project / ".cache").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["teaching=ensemble", "distillation=feature"],
            "must not compare features in an ensemble",
            id="ensemble",
        ),
        pytest.param(
            ["teaching=mutual", "teaching.peer=resnet.yaml"], "architecture resnet.yaml: neither a file", id="peer"
        ),
        pytest.param(["student.architecture=yolo26n.yaml"], "the student's head has none", id="no box distributions"),
        pytest.param(
            ["student.architecture=yolo11n.yaml", "student.weights=teacher"],
            "cannot be the teacher's for yolo11n.yaml",
            id="weights of another family",
        ),
        pytest.param(["teaching=born_again", "teaching.generations=0"], "must be at least 1", id="no generation"),
        pytest.param(["teaching=ensemble", "teaching.others=[]"], "must name at least one", id="no others"),
        pytest.param(["teaching=assistants", "teaching.chain=[]"], "must name at least one", id="no chain"),
        pytest.param(
            ["distillation.response=0", "distillation.localization=0"],
            "must give a loss a weight above 0",
            id="no loss",
        ),
    ],
)
def test_bad_teaching_settings_are_refused(project: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        distilled(project, *overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["teaching=ensemble", "teaching.others=[yolo11n.yaml,yolov11n.yaml]"],
            "architecture yolov11n.yaml: neither a file",
            id="the second other",
        ),
        pytest.param(
            ["teaching=assistants", "teaching.chain=[yolov8n.yaml,yolov9000.yaml]"],
            "architecture yolov9000.yaml: neither a file",
            id="the second link",
        ),
        pytest.param(
            ["teaching=ensemble", "teaching.others=[yolo26n.yaml]"],
            "got 1 bins at .* and 16 bins at",
            id="bins that differ",
        ),
        pytest.param(
            ["teaching=assistants", "teaching.chain=[yolo26n.yaml]"], "the teacher's head has none", id="a link"
        ),
        pytest.param(
            ["teaching=born_again", "student.architecture=yolo26n.yaml"], "head has none", id="its own generation"
        ),
        pytest.param(
            ["teaching=born_again", "withheld_classes=[3,ten]"],
            r"classes of the dataset \(0, .*\), got ten",
            id="class",
        ),
    ],
)
def test_bad_teaching_settings_are_refused_before_any_training(
    project: Path, overrides: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*arguments: object, **options: object) -> None:
        raise AssertionError("training started")

    monkeypatch.setattr("src.trainings.job.TrainingJob.train_helper", trained)
    with pytest.raises(UserError, match=message):
        distilled(project, *overrides)


def with_labels_set_aside(project: Path) -> None:
    """Replace the prepared data by a copy in which every second training image has no labels."""
    prepared = project / "data/prepared"
    original = prepared.resolve()
    prepared.unlink()
    shutil.copytree(original, prepared)
    aside = prepared / "images/unlabelled"
    aside.mkdir()
    for image in sorted((prepared / "images/train").iterdir())[::2]:
        (prepared / f"labels/train/{image.stem}.txt").unlink()
        image.rename(aside / image.name)


def test_images_whose_labels_were_set_aside_are_learned_from_their_predictions(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_labels_set_aside(project)
    aside = sorted(path.name for path in (project / "data/prepared/images/unlabelled").iterdir())
    shutil.rmtree(project / "data/unlabelled")
    results = [{"image_id": name, "category": 4, "bbox": [5, 5, 20, 20], "score": 0.9} for name in aside[:8]]
    (project / "data/predictions/results.json").write_text(json.dumps(results))
    caplog.set_level("INFO")
    _, log, files = distilled(project, "teaching=predictions", "epochs=2")
    recorded = log.measured[0]["predictions"]
    assert {key: recorded[key] for key in ("boxes", "labelled_images", "unlabelled_images")} == {
        "boxes": 8,
        "labelled_images": 0,
        "unlabelled_images": 8,
    }
    assert set(files.inputs) == {"data/prepared", "data/predictions"}
    table = next(csv.DictReader((project / "out/reports/distill/epochs.csv").open()))
    assert float(table["train/unlabelled_response"]) > 0
    told = [record.getMessage() for record in caplog.records]
    assert "8 predicted boxes from 1 file: in 0 of 10 labelled images and 8 of 10 images without labels" in told
    assert "10 labelled images have no prediction: there the labels are the soft targets, too" in told
    assert "2 images without labels have no prediction either: they are left out" in told


def test_another_file_of_predictions_gives_another_student_and_the_same_file_the_same(project: Path) -> None:
    students = []
    for run, score in enumerate([0.75, 0.75, 0.1]):
        results = project / "data/predictions/results.json"
        content = [{**entry, "score": score} for entry in json.loads(results.read_text())]
        results.write_text(json.dumps(content))
        distilled(project, "teaching=predictions", output=str(run))
        students.append((project / str(run) / "models/student.pt").read_bytes())
    assert students[0] == students[1] != students[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(["distillation=feature"], "must not compare features, as a file", id="loss"),
        pytest.param(["teaching.min_score=1.5"], "teaching.min_score must be at least 0 and at most 1", id="score"),
        pytest.param(["teaching.files=nowhere"], "teaching.files: is not a folder: put files of detections", id="none"),
        pytest.param(["+teaching.classes={1: eleven}"], "'eleven' is no class of the dataset", id="map"),
    ],
)
def test_bad_settings_of_predictions_are_refused(project: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        distilled(project, "teaching=predictions", *overrides)


def test_helper_networks_are_not_trained_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["teaching=born_again", "epochs=2"]
    _, whole, _ = distilled(project, *overrides)
    expected = (project / "out/models/student.pt").read_bytes()

    def killed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("src.trainings.job.TrainingJob.train_output", killed)
        distilled(project, *overrides, output="killed")
    _, again, _ = distilled(project, *overrides, output="again")
    assert whole.below == ["generation-0"]
    assert again.below == []
    assert (project / "again/models/student.pt").read_bytes() == expected
