"""The Makefile's check of the Python version, which comes before anything is downloaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

PROJECT = Path(__file__).parents[1]
SUPPORTED = SpecifierSet(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"])

PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then
    exec '{python}' -c 'import sys; code = sys.argv[1]; sys.version_info = {version}; exec(code)' "$2"
fi
echo "$@" >> installed.txt
exit 3
"""
"""Pretends to be another version of Python, and installs nothing."""


@pytest.mark.parametrize("minor", [6, 10, 11, 12, 13, 14, 15])
def test_make_refuses_in_one_line_the_pythons_that_pyproject_excludes(tmp_path: Path, minor: int) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(PYTHON.format(python=sys.executable, version=(3, minor, 1)))
    python.chmod(0o755)
    command = ["make", "-s", "repro", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    installs = (tmp_path / "installed.txt").exists()
    assert installs == (f"3.{minor}.1" in SUPPORTED)
    if not installs:
        line = f"Python 3.11, 3.12 or 3.13 is needed, this is 3.{minor}: make repro PYTHON=python3.13"
        assert [line, ""] == [*done.stderr.splitlines()[:-1], done.stdout]  # the last line is make's own
