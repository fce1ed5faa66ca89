import numpy as np
import pytest

from src.reporting.sweep_heat_map import best_of, draw_sweep

GRID = [{"T": T, "alpha": alpha, "value": int(T) + float(alpha)} for T in ("10", "1", "3") for alpha in ("0.5", "0.7")]


def test_settings_are_in_the_order_of_numbers_and_cells_hold_their_value() -> None:
    columns, rows, best = best_of(GRID, "T", "alpha")
    assert (columns, rows) == (["1", "3", "10"], ["0.5", "0.7"])
    np.testing.assert_allclose(best, [[1.5, 3.5, 10.5], [1.7, 3.7, 10.7]])


def test_a_cell_of_several_jobs_holds_the_best_and_one_of_none_is_empty() -> None:
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
def test_there_is_a_panel_per_pair_of_keys(keys: list[str], panels: int) -> None:
    jobs = [{**dict.fromkeys(keys, "1"), "value": 0.1}, {**dict.fromkeys(keys, "2"), "value": 0.2}]
    figure = draw_sweep(jobs)
    assert figure is not None
    assert len(figure.axes) == panels


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param([], id="no jobs"),
        pytest.param([{"T": "1", "value": 0.1}], id="one job"),
        pytest.param([{"T": "1", "value": None}, {"T": "2", "value": None}], id="no values"),
        pytest.param([{"T": "1", "value": 0.1}, {"T": "1", "value": 0.2}], id="nothing varies"),
    ],
)
def test_where_nothing_varies_nothing_is_drawn(jobs: list[dict[str, object]]) -> None:
    assert draw_sweep(jobs) is None
