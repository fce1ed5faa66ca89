from __future__ import annotations

from pathlib import Path

import pytest

from src.foundation.errors import UserError
from src.foundation.processes import HOST
from src.workflow.stage_files import StageFiles


@pytest.fixture
def files(tmp_path: Path) -> StageFiles:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/teacher.pt").write_text("teacher")
    return StageFiles("distill", tmp_path, tmp_path / "out")


def test_a_missing_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"models/teacher.pt is not there: run `dvc repro`"):
        StageFiles("distill", tmp_path, tmp_path).read("models/teacher.pt")


def test_inputs_are_in_the_project_and_outputs_in_the_output_folder(files: StageFiles) -> None:
    assert files.read("models/teacher.pt") == files.project / "models/teacher.pt"
    assert files.write("models/student.pt") == files.project / "out/models/student.pt"
    assert list(files.inputs) == ["models/teacher.pt"]
    assert list(files.outputs) == ["models/student.pt"]


def test_a_users_file_may_be_absolute_or_missing(files: StageFiles) -> None:
    (files.project / "mine.pt").write_text("mine")
    assert files.read_own(str(files.project / "mine.pt")) == files.read_own("mine.pt") == files.project / "mine.pt"
    assert files.read_own("not there.pt") == files.project / "not there.pt"
    assert "not there.pt" not in files.inputs


def test_remains_of_dead_processes_do_not_lie_beside_an_output(files: StageFiles) -> None:
    path = files.write("models/student.pt")
    remains = path.with_name(f".student.{HOST}-4194999.partial.pt")  # Linux gives no higher number than 4194304
    remains.touch()
    files.write("models/student.pt")
    assert not remains.exists()
