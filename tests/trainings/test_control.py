from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src.trainings.control import train_control
from src.workflow.stage_files import StageFiles


def trained(project: Path, output: Path, control: str, *, has_soft_targets: bool = True) -> tuple[Any, list[Path]]:
    """Return what the stage gets, and the files in the control's folder."""
    weights = project / "helper.pt"
    weights.write_bytes(b"weights")
    job: Any = SimpleNamespace(
        files=StageFiles("distill", project, output),
        train_helper=lambda name, network, make_criterion: weights,
        helper_metrics=lambda name: {"best_epoch": 3},
    )
    params: Any = SimpleNamespace(control=control)
    student: Any = None
    metrics = train_control(params, student, job, None, has_soft_targets=has_soft_targets)
    return metrics, sorted((output / "models/control").iterdir())


@pytest.mark.parametrize(
    ("control", "in_pipeline", "expected"),
    [
        ("pipeline", True, True),
        ("pipeline", False, False),
        ("always", True, True),
        ("always", False, True),
        ("never", True, False),
        ("never", False, False),
    ],
)
def test_when_a_control_is_trained(tmp_path: Path, control: str, in_pipeline: bool, expected: bool) -> None:
    output = tmp_path if in_pipeline else tmp_path / "outputs"
    metrics, files = trained(tmp_path, output, control)
    assert metrics == ({"best_epoch": 3} if expected else None)
    assert [file.name for file in files] == (["control.pt"] if expected else [])
    assert all(file.read_bytes() == b"weights" for file in files)


def test_a_student_without_soft_targets_is_its_own_control(tmp_path: Path) -> None:
    assert trained(tmp_path, tmp_path, "always", has_soft_targets=False) == (None, [])


def test_the_control_of_an_earlier_run_is_removed(tmp_path: Path) -> None:
    trained(tmp_path, tmp_path, "always")
    assert trained(tmp_path, tmp_path, "never") == (None, [])
