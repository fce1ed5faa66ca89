from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from src import PROJECT
from src.workflow.command import guarded

ENDS = """
import os, signal, sys
from src.foundation.errors import UserError
from src.workflow.command import guarded

def main():
    if sys.argv[1] == "disk":
        raise OSError(28, "No space left on device", "models/x.pt")
    if sys.argv[1] == "name":
        raise UserError("data: 1 fault\\n  \\x1b[31ma.jpg: is red")
    if sys.argv[1] == "read-only":
        raise OSError(30, "Read-only file system", "outputs/distill")
    os.kill(os.getpid(), {"ctrl-c": signal.SIGINT, "queue": signal.SIGTERM}[sys.argv[1]])

sys.exit(guarded(main))
"""


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ("ctrl-c", 130, "interrupted\n"),
        ("queue", 130, "interrupted\n"),
        ("name", 1, "error: data: 1 fault\n  \\x1b[31ma.jpg: is red\n"),
        ("disk", 1, "error: [Errno 28] No space left on device: 'models/x.pt'\n"),
        ("read-only", 1, "error: [Errno 30] Read-only file system: 'outputs/distill'\n"),
    ],
)
def test_an_interrupt_or_system_error_prints_one_line(end: str, code: int, message: str) -> None:
    command = [sys.executable, "-c", ENDS, end]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, message)


@pytest.mark.parametrize("arguments", [["T=0"], ["tempreture=3"], ["--help"]])
def test_slow_packages_are_imported_only_after_the_settings_are_checked(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "src.distill", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "hydra" in imported
    assert not imported & {"torch", "ultralytics", "mlflow", "pandas", "matplotlib", "cv2", "onnxruntime", "optuna"}


@pytest.mark.parametrize(
    "value",
    ["données", "cells (1)", "a=b", "~/cells", "it's", 'a "b', "[1", "C:\\é\\", 'back\\"slash (1)', "a;b", "a&b"],
)
def test_the_advice_for_a_value_that_hydra_cannot_read_gives_that_value(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = OverridesParser.create()
    assert guarded(lambda: parser.parse_overrides([f"data.root={value}"])) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: data.root={value}: Hydra cannot read this value")
    assert line.count("\n") == 1
    (advised,) = shlex.split(line.rpartition("quote it twice: ")[2])
    (override,) = parser.parse_overrides([advised])
    assert (override.key_or_group, override.value()) == ("data.root", value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("distill", "distill: expected key=value"),
        ("T=rang(1,3)", "(Unknown function 'rang')"),
    ],
)
def test_an_argument_that_is_no_setting_is_refused_in_a_line(
    argument: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded(lambda: OverridesParser.create().parse_overrides([argument]))
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1
