from pathlib import Path

import numpy as np
import pytest

from src.reporting.sweep_heat_map import best_of, draw_sweep, panels_of

GRID = [{"T": T, "alpha": alpha, "value": int(T) + float(alpha)} for T in ("10", "1", "3") for alpha in ("0.5", "0.7")]


def test_settings_are_sorted_as_numbers_and_cells_contain_their_value() -> None:
    columns, rows, best = best_of(GRID, "T", "alpha")
    assert (columns, rows) == (["1", "3", "10"], ["0.5", "0.7"])
    np.testing.assert_allclose(best, [[1.5, 3.5, 10.5], [1.7, 3.7, 10.7]])


def test_a_cell_contains_the_best_of_its_jobs_or_nan() -> None:
    jobs = [
        {"a": "1", "b": "x", "c": "0", "value": 0.2},
        {"a": "1", "b": "x", "c": "1", "value": 0.4},
        {"a": "2", "b": "y", "c": "0", "value": 0.3},
    ]
    _, _, best = best_of(jobs, "a", "b")
    np.testing.assert_array_equal(best, [[0.4, np.nan], [np.nan, 0.3]])


@pytest.mark.parametrize(
    ("keys", "panels"),
    [
        pytest.param(["T"], 1, id="dots"),
        pytest.param(["T", "alpha"], 1, id="one pair"),
        pytest.param(list("abc"), 3, id="three pairs"),
    ],
)
def test_there_is_a_panel_per_pair_of_keys(keys: list[str], panels: int, tmp_path: Path) -> None:
    jobs = [{**dict.fromkeys(keys, "1"), "value": 0.1}, {**dict.fromkeys(keys, "2"), "value": 0.2}]
    assert len(panels_of(jobs)) == panels
    assert draw_sweep(jobs, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").is_file()


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param([], id="no jobs"),
        pytest.param([{"T": "1", "value": 0.1}], id="one job"),
        pytest.param([{"T": "1", "value": None}, {"T": "2", "value": None}], id="no values"),
        pytest.param([{"T": "1", "value": 0.1}, {"T": "1", "value": 0.2}], id="nothing varies"),
    ],
)
def test_nothing_is_drawn_without_values_or_a_key_that_varies(jobs: list[dict[str, object]], tmp_path: Path) -> None:
    assert not draw_sweep(jobs, tmp_path / "sweep.png")
    assert not list(tmp_path.iterdir())
