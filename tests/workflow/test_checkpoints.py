from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src import PROJECT
from src.workflow import checkpoints as module
from src.workflow.checkpoints import checkpoints
from src.workflow.stage_files import StageFiles
from src.workflow.trial import TrialPruned

MADE_WITH = {"torch": "2.0", "device": "cpu"}


@pytest.fixture
def files(tmp_path: Path) -> StageFiles:
    (tmp_path / "teacher.pt").write_text("teacher")
    return StageFiles("distill", tmp_path, tmp_path / "out")


def interrupted(files: StageFiles, config: str = "T: 1") -> Path:
    """Return the folder of a training that was killed."""
    with (
        pytest.raises(KeyboardInterrupt),
        checkpoints(files, config, [files.project / "teacher.pt"], MADE_WITH) as path,
    ):
        (path / "state.pt").write_text("state")
        raise KeyboardInterrupt
    return path


def test_a_killed_training_finds_its_state_again(files: StageFiles) -> None:
    path = interrupted(files)
    with checkpoints(files, "T: 1", [files.project / "teacher.pt"], MADE_WITH) as found:
        assert found == path
        assert (found / "state.pt").read_text() == "state"
    assert not path.exists(), "the state of a finished training is deleted"


def test_the_state_of_a_training_that_a_search_stopped_is_deleted(files: StageFiles) -> None:
    with pytest.raises(TrialPruned), checkpoints(files, "T: 1", [], MADE_WITH) as path:
        (path / "state.pt").write_text("state")
        raise TrialPruned("after epoch 3")
    assert not path.exists()


def test_a_training_with_other_settings_gets_another_folder(files: StageFiles) -> None:
    path = interrupted(files)
    with checkpoints(files, "T: 2", [files.project / "teacher.pt"], MADE_WITH) as found:
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
    with checkpoints(files, "T: 1", inputs, MADE_WITH) as found:
        assert found != path


def test_a_training_with_other_code_gets_another_folder(files: StageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    path = interrupted(files)
    monkeypatch.setattr(module, "code_digest", lambda name: "other code")
    with checkpoints(files, "T: 1", [files.project / "teacher.pt"], MADE_WITH) as found:
        assert found != path


@pytest.mark.parametrize(
    ("now", "other"),
    [
        ({"torch": "2.1", "device": "cpu"}, "torch 2.0, now 2.1"),
        ({"torch": "2.0", "device": "0"}, "device cpu, now 0"),
        ({**MADE_WITH, "the content of a.yaml": "f00"}, "the content of a.yaml None, now f00"),
    ],
)
def test_a_state_made_with_something_else_is_removed_with_a_line(
    files: StageFiles, caplog: pytest.LogCaptureFixture, now: dict[str, str], other: str
) -> None:
    path = interrupted(files)
    with checkpoints(files, "T: 1", [files.project / "teacher.pt"], now) as found:
        assert found == path
        assert not (found / "state.pt").exists()
    assert [record.getMessage() for record in caplog.records] == [
        f"the training starts anew: the state in {path} is of {other}"
    ]


def test_two_trainings_at_once_do_not_share_their_state(files: StageFiles) -> None:
    with checkpoints(files, "T: 1", [], MADE_WITH) as one, checkpoints(files, "T: 1", [], MADE_WITH) as other:
        assert one != other


PROCESS = """
import sys
from pathlib import Path
from src.workflow.checkpoints import checkpoints
from src.workflow.stage_files import StageFiles

root = Path(sys.argv[1])
with checkpoints(StageFiles("distill", root, root), "T: 1", [], {}) as folder:
    found = len(list(folder.glob("*.pt")))
    (folder / "state.pt").touch()
    print(folder.name, found, flush=True)
    sys.stdin.readline()
"""


class Trains:
    """A process that trains until it is told to end."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-c", PROCESS, str(root)]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.folder, found = self.process.stdout.readline().split()
        self.resumes = found != "0"

    def end(self) -> None:
        self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=60)


def test_processes_that_come_and_go_never_share_a_folder(tmp_path: Path) -> None:
    first, second = Trains(tmp_path), Trains(tmp_path)
    second.end()
    third = Trains(tmp_path)
    assert first.folder not in (second.folder, third.folder), "the second does not give away what the first holds"
    third.kill()
    resumed = Trains(tmp_path)
    assert resumed.folder == third.folder
    assert resumed.resumes, "what a killed process left is found by the next"
    resumed.kill()
    first.end()
    resumed = Trains(tmp_path)
    assert resumed.resumes, "also if the first folder is free again"
    resumed.end()
    assert not [path for path in (tmp_path / ".checkpoints").iterdir() if path.is_dir()]
