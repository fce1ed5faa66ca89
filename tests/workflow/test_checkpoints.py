from __future__ import annotations

from pathlib import Path

import pytest

from src.workflow import checkpoints as module
from src.workflow.checkpoints import checkpoints
from src.workflow.stage_files import StageFiles


@pytest.fixture
def files(tmp_path: Path) -> StageFiles:
    (tmp_path / "teacher.pt").write_text("teacher")
    return StageFiles("distill", tmp_path, tmp_path / "out")


def interrupted(files: StageFiles, config: str = "T: 1") -> Path:
    """Return the folder of a training that was killed."""
    with pytest.raises(KeyboardInterrupt), checkpoints(files, config, [files.project / "teacher.pt"]) as path:
        (path / "state.pt").write_text("state")
        raise KeyboardInterrupt
    return path


def test_a_killed_training_finds_its_state_again(files: StageFiles) -> None:
    path = interrupted(files)
    with checkpoints(files, "T: 1", [files.project / "teacher.pt"]) as found:
        assert found == path
        assert (found / "state.pt").read_text() == "state"
    assert not path.exists(), "the state of a finished training is deleted"


def test_a_training_with_other_settings_gets_another_folder(files: StageFiles) -> None:
    path = interrupted(files)
    with checkpoints(files, "T: 2", [files.project / "teacher.pt"]) as found:
        assert found != path


@pytest.mark.parametrize("change", ["other content", "missing", "one more"])
def test_a_training_with_other_inputs_gets_another_folder(files: StageFiles, change: str) -> None:
    path = interrupted(files)
    inputs = [files.project / "teacher.pt"]
    if change == "other content":
        inputs[0].write_text("another teacher")
    elif change == "missing":
        inputs[0].unlink()
    else:
        inputs.append(files.project / "not there.pt")
    with checkpoints(files, "T: 1", inputs) as found:
        assert found != path


def test_a_training_with_other_code_gets_another_folder(files: StageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    path = interrupted(files)
    monkeypatch.setattr(module, "code_digest", lambda name: "other code")
    with checkpoints(files, "T: 1", [files.project / "teacher.pt"]) as found:
        assert found != path


def test_two_trainings_at_once_do_not_share_their_state(files: StageFiles) -> None:
    with checkpoints(files, "T: 1", []) as one, checkpoints(files, "T: 1", []) as other:
        assert one != other
