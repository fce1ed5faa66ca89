import warnings
from pathlib import Path

import cv2
import numpy as np

from src.deployment.detections import Detections
from src.reporting.accuracy_plots import draw_pareto, draw_per_class, pareto_front
from src.reporting.boxes import SIDE_PX
from src.reporting.side_by_side import Half, side_by_side


def test_halves_are_side_by_side_with_boxes_at_their_coordinates(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((60, 120, 3), 128, dtype=np.uint8))
    one = Detections(np.array([[30.0, 15, 90, 45]]), np.array([0.5]), np.array([1]))
    none = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))
    halves = [Half("left", one, frozenset()), Half("right", none, frozenset())]
    for name in ("first.png", "second.png"):
        side_by_side(tmp_path / "grey.png", halves, ["cat", "dog"], tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    picture = cv2.imread(str(tmp_path / "first.png"))
    assert picture is not None
    left, right = np.split(picture, 2, axis=1)
    below_caption = slice(30, None)
    assert (right[below_caption, 4:-4] == 128).all()
    drawn = np.argwhere((left[below_caption, 4:-4] != 128).any(axis=2)) + np.array([30, 4])
    scale = SIDE_PX / 120
    assert abs(drawn[:, 0].max() - (45 * scale + 28)) <= 2
    assert abs(drawn[:, 1].min() - (30 * scale + 2)) <= 2
    assert abs(drawn[:, 1].max() - (90 * scale + 2)) <= 2


def test_plots_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    scores = {"cat": {"map50_95": 0.5}, "dog": {"map50_95": 0.7}}
    for name in ("a", "b"):
        draw_per_class(
            {"one": {"per_class": scores}, "two": {"per_class": {"cat": {"map50_95": 0.1}}}},
            tmp_path / f"{name}_bars.png",
        )
        points = {"one": (10.0, 0.5, 20.0), "two": (2.0, 0.4, 3.0), "control": (3.0, 0.4, 5.0)}
        draw_pareto(points, [["one", "two"]], "a machine", tmp_path / f"{name}_dots.png")
    for kind in ("bars", "dots"):
        assert (tmp_path / f"a_{kind}.png").read_bytes() == (tmp_path / f"b_{kind}.png").read_bytes()


def test_bars_of_classes_with_names_of_any_kind(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = {name: {"map50_95": 0.5} for name in ("$x^$", "$", "two\nlines", "\x1b[31m", "x" * 260)}
        draw_per_class({"one": {"per_class": scores}}, tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 0


def test_the_pareto_front_leaves_out_dominated_points() -> None:
    points = {"slow": (9.0, 0.7), "dominated": (8.0, 0.5), "fast": (2.0, 0.4), "tied": (2.0, 0.3), "good": (5.0, 0.6)}
    assert pareto_front(points) == ["fast", "good", "slow"]
