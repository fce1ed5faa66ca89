from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from src.foundation.errors import UserError
from src.foundation.project import PROJECT
from src.workflow.stage_files import StageFiles


def place(root: Path, settings: str = "T: 1") -> StageFiles:
    return StageFiles("distill", root, root / "out")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/teacher.pt").write_text("teacher")
    return tmp_path


def interrupted(at: StageFiles) -> Path:
    """Return the folder of a training that was killed."""
    at.read("models/teacher.pt")
    with pytest.raises(KeyboardInterrupt), at.checkpoint() as path:
        (path / "state.pt").write_text("state")
        raise KeyboardInterrupt
    return path


def test_a_killed_training_finds_its_state_again(project: Path) -> None:
    path = interrupted(place(project))
    again = place(project)
    again.read("models/teacher.pt")
    with again.checkpoint() as found:
        assert found == path
        assert (found / "state.pt").read_text() == "state"
    assert not path.exists(), "a training that ended needs its state no more"


def test_other_parameters_or_inputs_never_find_it(project: Path) -> None:
    path = interrupted(place(project))
    other_settings = place(project, "T: 2")
    other_settings.read("models/teacher.pt")
    with other_settings.checkpoint() as found:
        assert found != path
    (project / "models/teacher.pt").write_text("another teacher")
    other_input = place(project)
    other_input.read("models/teacher.pt")
    with other_input.checkpoint() as found:
        assert found != path


def test_weights_of_the_users_own_are_an_input(project: Path) -> None:
    (project / "mine.pt").write_text("mine")
    at = place(project)
    assert at.read_own(str(project / "mine.pt")) == at.read_own("mine.pt") == project / "mine.pt"
    path = interrupted(at)
    (project / "mine.pt").write_text("better")
    again = place(project)
    again.read("models/teacher.pt")
    again.read_own("mine.pt")
    again.read_own("not there.pt")
    with again.checkpoint() as found:
        assert found != path


def test_two_trainings_at_once_do_not_share_their_state(project: Path) -> None:
    first, second = place(project), place(project)
    with first.checkpoint() as one, second.checkpoint() as other:
        assert one != other


def test_an_input_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"models/teacher.pt is not there: run `dvc repro`"):
        place(tmp_path).read("models/teacher.pt")


def test_inputs_come_from_the_project_and_outputs_go_elsewhere(project: Path) -> None:
    at = place(project)
    assert at.read("models/teacher.pt") == project / "models/teacher.pt"
    assert at.write("models/student.pt") == project / "out/models/student.pt"


STAGE = """
import os, signal, sys
from src.workflow import stage

def main():
    if sys.argv[1] == "disk":
        raise OSError(28, "No space left on device", "models/x.pt")
    os.kill(os.getpid(), {"ctrl-c": signal.SIGINT, "queue": signal.SIGTERM}[sys.argv[1]])

stage.guard(main)
"""


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("ctrl-c", 130, "interrupted\n"),
        ("queue", 130, "interrupted\n"),
        ("disk", 1, "error: [Errno 28] No space left on device: 'models/x.pt'\n"),
    ],
)
def test_an_end_from_outside_is_one_line(end: str, code: int, said: str) -> None:
    command = [sys.executable, "-c", STAGE, end]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)
