"""The curve of a metric over a param, from rows as DVC lists them and from a repository with experiments."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from src import PROJECT
from src.curve import METRIC, WORKSPACE, points_of
from src.foundation.errors import UserError
from src.reporting.curves import Point

ROWS = [
    {"rev": WORKSPACE, "part": 9.0, METRIC: 0.9, "way": "a"},
    {"rev": "main", "part": 1.0, METRIC: 0.7, "way": "a"},
    {"rev": "1a", "part": 0.5, METRIC: 0.6, "way": "b"},
    {"rev": "1b", "part": 0.5, METRIC: None, "way": "b"},  # failed
    {"rev": "1c", "part": None, METRIC: 0.5, "way": "b"},  # of before the param
    {"rev": "1d", METRIC: 0.5},
]


def test_points_are_the_experiments_with_both_numbers() -> None:
    assert points_of(ROWS, "part", METRIC, None) == [Point(0.5, 0.6), Point(1.0, 0.7)]
    assert points_of(ROWS, "part", METRIC, "way") == [Point(0.5, 0.6, "b"), Point(1.0, 0.7, "a")]


@pytest.mark.parametrize(
    ("param", "metric", "by", "message"),
    [
        ("prat", METRIC, None, "prat: no experiment has it"),
        ("part", "map", None, "map: no experiment has it"),
        ("part", METRIC, "how", "how: no experiment has it"),
        ("way", METRIC, None, "no experiment has a number for both way and"),
    ],
)
def test_names_without_numbers_are_refused(param: str, metric: str, by: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        points_of(ROWS, param, metric, by)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a stage that writes its param as a metric, and two experiments."""
    (tmp_path / "params.yaml").write_text("part: 0.25\n")
    (tmp_path / "stage.py").write_text(
        "import json, yaml\npart = yaml.safe_load(open('params.yaml'))['part']\n"
        "json.dump({'onnx_int8': {'map50_95': part / 2}}, open('report.json', 'w'))\n"
    )
    command = f"{sys.executable} stage.py"
    (tmp_path / "dvc.yaml").write_text(
        f"stages:\n  stage:\n    cmd: {command}\n    params: [part]\n    metrics: [report.json: {{cache: false}}]\n"
    )
    (tmp_path / "src").symlink_to(PROJECT / "src")
    (tmp_path / ".gitignore").write_text("/src\n/outputs\n")
    for command in (
        "git init -q",
        f"{sys.executable} -m dvc init -q",
        f"{sys.executable} -m dvc repro -q",
        "git add .",
        "git -c user.name=a -c user.email=a@b commit -qm start",
        f"{sys.executable} -m dvc exp run -q -S part=0.5",
        f"{sys.executable} -m dvc exp run -q -S part=1.0",
    ):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.slow
def test_experiments_of_dvc_become_a_picture_and_a_table(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.curve.PROJECT", repository)
    monkeypatch.setattr(sys, "argv", ["src.curve", "part"])
    from src.curve import main

    main()
    rows = list(csv.reader((repository / "outputs/curve/curve.csv").open()))
    assert rows == [["part", METRIC], ["0.25", "0.125"], ["0.5", "0.25"], ["1.0", "0.5"]]
    assert (repository / "outputs/curve/curve.png").stat().st_size > 0
