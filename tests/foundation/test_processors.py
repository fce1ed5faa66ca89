from __future__ import annotations

import os
import subprocess
import sys

import joblib
import pytest

from src import PROJECT
from src.foundation import processors
from src.foundation.processors import processors_for

AFTER_ULTRALYTICS = """
import os
import src.config.common
import ultralytics.utils
import src.detector
from src.foundation.processors import processors_for
print(processors_for("auto"), os.environ.get("OMP_NUM_THREADS"))
"""


@pytest.mark.parametrize(
    ("threads", "share", "expected"),
    [
        pytest.param("auto", "", 6, id="all that there are"),
        pytest.param("auto", "2", 2, id="the share of a launcher"),
        pytest.param("auto", "64", 6, id="a share of more than there are"),
        pytest.param("auto", "4,2", 6, id="a share in another notation"),
        pytest.param(3, "2", 3, id="a number"),
    ],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, threads: int | str, share: str, expected: int) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)
    monkeypatch.setattr(processors, "LAUNCHERS_SHARE", share)
    assert processors_for(threads) == expected


@pytest.mark.parametrize("share", [None, "1"])
def test_ultralytics_does_not_change_the_share(share: str | None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if share is not None:
        environment["OMP_NUM_THREADS"] = share
    command = [sys.executable, "-c", AFTER_ULTRALYTICS]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [share or str(joblib.cpu_count()), str(share)]
