from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from src import PROJECT, write_predictions
from src.config.composition import register, typed
from src.detector.checkpoint import load_detector
from src.foundation.errors import UserError
from src.foundation.prepared import class_names, images_of
from src.teaching.detections_file import Wanted, read_detections
from src.workflow.stage_files import StageFiles
from tests.stages import small_project

pytestmark = pytest.mark.slow


def written(project: Path, *overrides: str) -> Path:
    """Return the folder of what was written."""
    register()
    given = ["imgsz=64", "threads=1", "device=cpu", *overrides]
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        params: Any = typed("write_predictions", compose("write_predictions", given))
    write_predictions.run(params, StageFiles("write_predictions", project, project / "out"))
    return project / "out"


def test_what_a_detector_finds_in_the_training_images_can_teach(tmp_path: Path, prepared: Path) -> None:
    """An untrained detector has boxes of every class at every place, if it may be as unsure as it is."""
    project = small_project(tmp_path, prepared)
    train = images_of(project / "data/prepared", "train")
    unlabelled = sorted((project / "data/unlabelled").iterdir())
    wanted = Wanted([*train, *unlabelled], [], class_names(prepared), {}, 0.0)
    detections = read_detections(written(project, "score=0"), wanted)
    assert list(detections.found) == [*train, *unlabelled]
    assert detections.files == 1
    assert detections.counts()["of_other_images"] == detections.counts()["of_other_classes"] == 0
    found = detections.found[train[0]]
    same_place = (abs(found.boxes_xyxy - found.boxes_xyxy[0]).max(axis=1) < 0.01).sum()
    assert same_place > 1, "several classes of one place"
    assert len(load_detector(project / "models/teacher.pt").names) == len(set(found.classes.tolist()))


def test_a_high_threshold_writes_an_empty_list(tmp_path: Path, prepared: Path) -> None:
    folder = written(small_project(tmp_path, prepared), "score=0.99")
    assert json.loads((folder / "predictions.json").read_text()) == []


def test_a_model_that_is_not_there_is_refused(tmp_path: Path, prepared: Path) -> None:
    with pytest.raises(UserError, match=r"model must be a \.pt file of a detector, got models/other\.pt, which is not"):
        written(small_project(tmp_path, prepared), "model=models/other.pt")
