from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src.teaching.box_fusion import Found, objects

LEFT, NEAR, FAR = [0.0, 0, 10, 10], [0.0, 0, 10, 8], [50.0, 50, 60, 60]  # the first two overlap by 0.8


def found(*detections: tuple[list[float], float, int, int]) -> Found:
    """Return detections, each of a box, a score, a class and a detector."""
    boxes, scores, classes, detectors = zip(*detections, strict=True)
    return Found(np.array(boxes), np.array(scores), np.array(classes), np.array(detectors))


def of(given: Found) -> tuple[Any, Any]:
    boxes, scores = objects(given, number_of_classes=3, least_iou=0.55)
    return boxes.tolist(), scores.tolist()


def test_boxes_of_several_detectors_are_weighted_by_their_scores() -> None:
    """Worked by hand: the weights of the lower edge are 0.6 and 0.2, so it is (0.6 * 10 + 0.2 * 8) / 0.8."""
    boxes, scores = of(found((LEFT, 0.6, 1, 0), (NEAR, 0.2, 1, 1), (FAR, 0.8, 1, 1)))
    np.testing.assert_allclose(boxes, [FAR, [0, 0, 10, 9.5]])
    np.testing.assert_allclose(scores, [[0, 0.4, 0], [0, 0.4, 0]], rtol=1e-6)  # FAR was found by one of two


def test_more_boxes_than_detectors_raise_no_score() -> None:
    _, scores = of(found((LEFT, 0.6, 1, 0), (LEFT, 0.6, 1, 0), (LEFT, 0.6, 1, 1)))
    np.testing.assert_allclose(scores, [[0, 0.6, 0]], rtol=1e-6)


def test_boxes_of_one_detector_are_not_fused() -> None:
    boxes, scores = of(found((LEFT, 0.6, 1, 0), (NEAR, 0.3, 1, 0)))
    assert boxes == [LEFT, NEAR]
    np.testing.assert_allclose(scores, [[0, 0.6, 0], [0, 0.3, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param((NEAR, 0.3, 2, 0), [[0.0, 0.7, 0.3]], id="alternatives"),
        pytest.param((NEAR, 0.7, 2, 0), [[0.0, 0.7, 0.0], [0.0, 0.0, 0.7]], id="two objects: more than 1 together"),
        pytest.param((FAR, 0.3, 2, 0), [[0.0, 0.7, 0.0], [0.0, 0.0, 0.3]], id="two objects: elsewhere"),
    ],
)
def test_classes_of_one_object_sum_up_to_at_most_1(second: Any, expected: list[list[float]]) -> None:
    boxes, scores = of(found((LEFT, 0.7, 1, 0), second))
    assert boxes[0] == LEFT
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_labels_stay_as_they_are() -> None:
    boxes, scores = of(found((LEFT, 1.0, 1, 0), (NEAR, 1.0, 2, 0), (LEFT, 1.0, 1, 0)))
    assert sorted(boxes) == sorted([LEFT, NEAR, LEFT])
    assert [sum(row) for row in scores] == [1, 1, 1]


def test_an_object_takes_the_alternatives_of_the_box_that_it_overlaps_most() -> None:
    boxes, scores = of(found((LEFT, 0.5, 0, 0), (NEAR, 0.4, 0, 0), (NEAR, 0.2, 1, 0)))
    assert boxes == [LEFT, NEAR]
    np.testing.assert_allclose(scores, [[0.5, 0, 0], [0.4, 0.2, 0]], rtol=1e-6)


def test_zero_scores_are_averaged_plainly() -> None:
    boxes, scores = of(found((LEFT, 0.0, 0, 0), (NEAR, 0.0, 0, 1)))
    assert boxes == [[0, 0, 10, 9]]
    assert scores == [[0, 0, 0]]
