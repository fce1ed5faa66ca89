from __future__ import annotations

import numpy as np
import pytest
import torch
from ultralytics.utils import nms

from src.deployment.detections import MOST_DETECTIONS, read_output
from src.deployment.letterbox import Placement

SQUARE = Placement((64, 64), (64, 64), (0, 0))


def columns(*rows: list[float]) -> np.ndarray:
    """Return rows of centre, size and scores as a network returns them."""
    return np.array(rows, dtype=np.float32).T[None]


def test_the_better_of_two_boxes_of_a_class_is_kept() -> None:
    output = columns(
        [20, 20, 10, 10, 0.6, 0.1],
        [21, 20, 10, 10, 0.9, 0.1],  # IoU 9 / 11 with the first
        [20, 20, 10, 10, 0.1, 0.5],  # another class
        [40, 40, 10, 10, 0.2, 0.2],  # below the score
    )
    found = read_output(output, SQUARE, score=0.25, iou=0.7)
    assert found.boxes_xyxy.tolist() == [[16, 15, 26, 25], [15, 15, 25, 25]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
    assert found.classes.tolist() == [0, 1]
    assert len(read_output(output, SQUARE, score=0.25, iou=0.82).scores) == 3


def test_a_box_outside_of_the_square_hides_none_of_another_class() -> None:
    output = columns([32, 32, 64, 64, 0.9, 0], [-33, -33, 64, 64, 0, 0.5])
    assert read_output(output, SQUARE, score=0.25, iou=0.7).classes.tolist() == [0, 1]


def test_nothing_found_is_no_detections() -> None:
    found = read_output(columns([20, 20, 10, 10, 0.1, 0.2]), SQUARE, score=0.25, iou=0.7)
    assert (found.boxes_xyxy.shape, found.scores.shape, found.classes.shape) == ((0, 4), (0,), (0,))


def test_boxes_without_area_are_left_out() -> None:
    output = columns([20, 20, -10, 10, 0.9, 0], [20, 20, 0, 10, 0.8, 0], [20, 20, 10, 10, 0.7, 0])
    assert read_output(output, SQUARE, score=0.25, iou=0.7).scores.tolist() == pytest.approx([0.7])


@pytest.mark.parametrize("seed", range(3))
def test_the_detections_are_those_of_ultralytics(seed: int) -> None:
    random = np.random.default_rng(seed)
    output = np.concatenate([random.uniform(0, 64, (4, 800)), random.uniform(0, 1, (3, 800))]).astype(np.float32)[None]
    for score, iou in ((0.25, 0.7), (0.9, 0.3), (0.001, 1.0)):
        [expected] = nms.non_max_suppression(torch.from_numpy(output.copy()), score, iou, max_det=MOST_DETECTIONS)
        found = read_output(output, SQUARE, score, iou)
        assert 0 < len(found.scores) <= MOST_DETECTIONS
        np.testing.assert_array_equal(found.classes, expected[:, 5])
        np.testing.assert_array_equal(found.scores.astype(np.float32), expected[:, 4])
        np.testing.assert_allclose(found.boxes_xyxy, expected[:, :4].clip(0, 64), atol=1e-4)  # float32 there
