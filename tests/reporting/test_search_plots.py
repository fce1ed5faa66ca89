from pathlib import Path

from src.reporting.search_plots import draw_history, draw_importances


def test_the_pictures_of_a_search_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    trials, importances = [(0, 0.2), (2, 0.5), (3, 0.4)], {"T": 0.75, "alpha": 0.25}
    for name in ("one", "other"):
        assert draw_history(trials, tmp_path / f"{name} history.png")
        assert draw_importances(importances, tmp_path / f"{name} importance.png")
    for picture in ("history", "importance"):
        one, other = ((tmp_path / f"{name} {picture}.png").read_bytes() for name in ("one", "other"))
        assert one == other


def test_a_search_without_a_finished_trial_has_no_pictures(tmp_path: Path) -> None:
    assert not draw_history([], tmp_path / "history.png")
    assert not draw_importances({}, tmp_path / "importance.png")
    assert list(tmp_path.iterdir()) == []
