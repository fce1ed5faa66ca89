"""Stages whose `dvc` is killed, and stages at once: with processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import psutil
import pytest

from src import PROJECT
from src.foundation.errors import UserError
from src.workflow import one_writer
from src.workflow.one_writer import only_writer

STAGE = """
import logging, sys, time
from pathlib import Path
from src.foundation.atomic import whole_file
from src.workflow.command import guarded
from src.workflow.one_writer import only_writer

root, name = Path(sys.argv[1]), sys.argv[2]
logging.basicConfig(level=logging.INFO, format="%(message)s")

def main():
    with only_writer(root, name):
        with whole_file(root / f"{name}.txt") as path:
            path.touch()
            (root / f"{name}.began").touch()
            while not (root / f"{name}.go").exists():
                time.sleep(0.01)

sys.exit(guarded(main))
"""

DVC = """
import os, subprocess, sys
from pathlib import Path
stage = Path(sys.argv[1]) / "stage.py"
# As DVC does: by a shell, and with its variable. `exit` keeps the shell from becoming the stage.
command = f"'{sys.executable}' '{stage}' '{sys.argv[1]}' {sys.argv[2]}; exit $?"
sys.exit(subprocess.run(["bash", "-c", command], env={**os.environ, "DVC_STAGE": sys.argv[2]}).returncode)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts what DVC is for a stage; what goes on at the end of the test is killed."""
    (tmp_path / "stage.py").write_text(STAGE)
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    started: list[psutil.Process] = []

    def of(name: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.err").open("wb") as errors:
            dvc = subprocess.Popen(
                [sys.executable, "-c", DVC, str(tmp_path), name],
                env={**environment, "PYTHONPATH": str(PROJECT)},
                stderr=errors,
            )
        until(lambda: bool((tmp_path / f"{name}.err").read_text()) or (tmp_path / f"{name}.began").exists())
        started.extend([psutil.Process(dvc.pid), *psutil.Process(dvc.pid).children(recursive=True)])
        return dvc

    yield of
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until_s, "it did not happen within a minute"
        time.sleep(0.01)


Start = Callable[[str], "subprocess.Popen[bytes]"]


def stage_of(dvc: subprocess.Popen[bytes]) -> psutil.Process:
    return psutil.Process(dvc.pid).children(recursive=True)[-1]


def test_a_stage_whose_dvc_is_killed_ends_and_publishes_nothing(tmp_path: Path, start: Start) -> None:
    dvc = start("prune")
    stage = stage_of(dvc)
    dvc.send_signal(signal.SIGKILL)
    dvc.wait(60)
    stage.wait(20)
    (tmp_path / "prune.go").touch()
    names = {path.name for path in tmp_path.iterdir() if "prune" in path.name}
    assert names == {"prune.began", "prune.err", "prune.go"}
    said = (tmp_path / "prune.err").read_text()
    assert said == "the `dvc` that started this stage has ended: the stage ends and publishes nothing\ninterrupted\n"


@pytest.mark.parametrize(("session", "ended"), [(1, False), (7, True)], ids=["dvc is the first process", "dvc ended"])
def test_a_stage_whose_dvc_ended_while_it_began_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: int, ended: bool
) -> None:
    monkeypatch.setattr(one_writer, "_dvc", lambda: psutil.Process(1))
    monkeypatch.setattr(os, "getsid", lambda pid: session if pid == 0 else 1)
    monkeypatch.setattr(one_writer, "_end_with", lambda dvc: None)
    refused = pytest.raises(UserError, match="has ended: nothing was done") if ended else nullcontext()
    with refused, only_writer(tmp_path, "prune"):
        (tmp_path / "written").touch()
    assert (tmp_path / "written").exists() != ended


def test_one_stage_at_a_time_writes(tmp_path: Path, start: Start) -> None:
    first = start("prune")
    second = start("distill")
    assert (tmp_path / "distill.err").read_text() == (
        f"waiting for prune (process {stage_of(first).pid}), which writes the pipeline's outputs\n"
    )
    (tmp_path / "distill.go").touch()
    (tmp_path / "prune.go").touch()
    assert [dvc.wait(60) for dvc in (first, second)] == [0, 0]
    assert (tmp_path / "prune.txt").stat().st_mtime_ns < (tmp_path / "distill.began").stat().st_mtime_ns


def test_the_writer_for_which_one_waits_in_vain_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_writer, "WAIT_S", 0.1)
    monkeypatch.setattr(one_writer, "_dvc", lambda: None)
    with (
        only_writer(tmp_path, "prune"),
        pytest.raises(UserError, match=rf"prune \(process {os.getpid()}\) still writes"),
        only_writer(tmp_path, "distill"),
    ):
        pass
    with only_writer(tmp_path, "distill"):
        pass
