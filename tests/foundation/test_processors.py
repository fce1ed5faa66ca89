from __future__ import annotations

import pytest

from src.foundation.processors import processors_for


@pytest.mark.parametrize(
    ("threads", "share", "expected"),
    [
        pytest.param("auto", None, 6, id="all that there are"),
        pytest.param("auto", "2", 2, id="the share of a launcher"),
        pytest.param("auto", "64", 6, id="a share of more than there are"),
        pytest.param("auto", "4,2", 6, id="a share in another notation"),
        pytest.param(3, "2", 3, id="a number"),
    ],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, threads: int | str, share: str | None, expected: int) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if share is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", share)
    assert processors_for(threads) == expected
