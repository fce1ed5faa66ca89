import numpy as np
import pytest

from src.deployment.detections import Detections
from src.evaluation.agreement import Agreement, compare, iou, summarize, worst_first


def found(*boxes: tuple[float, float, float, float, int]) -> Detections:
    """Return detections with score 0.9 from (left, top, right, bottom, class)."""
    rows = np.array(boxes, dtype=np.float64).reshape(-1, 5)
    return Detections(rows[:, :4], np.full(len(rows), 0.9), rows[:, 4].astype(np.int64))


A, A_SHIFTED, B = (0, 0, 10, 10, 0), (0, 0, 10, 8, 0), (50, 50, 60, 60, 0)
A_AS_CLASS_1 = (0, 0, 10, 10, 1)


@pytest.mark.parametrize(
    ("first", "second", "share", "ious", "alone"),
    [
        pytest.param(found(), found(), None, [], (set(), set()), id="neither finds anything"),
        pytest.param(found(A, B), found(B, A), 1.0, [1, 1], (set(), set()), id="the same in another order"),
        pytest.param(found(A), found(A_SHIFTED), 1.0, [0.8], (set(), set()), id="moved a little"),
        pytest.param(found(A), found(A_AS_CLASS_1), 0.0, [], ({0}, {0}), id="another class"),
        pytest.param(found(A, B), found(A), 2 / 3, [1], ({1}, set()), id="one missed"),
        pytest.param(found(), found(A), 0.0, [], (set(), {0}), id="one invented"),
        pytest.param(found(A), found(A_SHIFTED, A), 2 / 3, [1], (set(), {0}), id="the better partner, once"),
    ],
)
def test_pairs_of_small_examples(
    first: Detections, second: Detections, share: float | None, ious: list[float], alone: tuple[set[int], set[int]]
) -> None:
    agreement = compare(first, second, least_iou=0.5)
    assert agreement.share == pytest.approx(share)
    assert agreement.ious.tolist() == pytest.approx(ious)
    assert agreement.alone == alone


def test_agreement_is_symmetric() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        corners = random.uniform(0, 30, (2, 12, 2))
        sets = [
            Detections(
                np.concatenate([c, c + random.uniform(5, 20, (12, 2))], axis=1), np.ones(12), random.integers(0, 2, 12)
            )
            for c in corners
        ]
        forward, backward = compare(sets[0], sets[1], 0.3), compare(sets[1], sets[0], 0.3)
        assert (forward.share, sorted(forward.ious)) == (backward.share, sorted(backward.ious))
        assert forward.alone == backward.alone[::-1]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7, id="a quarter of each"),
        pytest.param([0, 0, 2, 2], [2, 0, 4, 2], 0, id="side by side"),
        pytest.param([0, 0, 4, 4], [1, 1, 3, 3], 0.25, id="one inside the other"),
        pytest.param([1, 1, 1, 1], [1, 1, 1, 1], 0, id="no size"),
    ],
)
def test_iou_of_small_examples(first: list[float], second: list[float], expected: float) -> None:
    assert iou(np.array([first], float), np.array([second], float)) == pytest.approx(np.array([[expected]]))


def agreement(share: float | None, *ious: float) -> Agreement:
    return Agreement(share, np.array(ious), (frozenset(), frozenset()))


def test_worst_images_come_first_by_share_then_iou_then_name() -> None:
    images = {
        "empty.png": agreement(None),
        "loose.png": agreement(1.0, 0.7),
        "b.png": agreement(0.5, 0.9),
        "a.png": agreement(0.5, 0.9),
    }
    assert worst_first(images) == ["a.png", "b.png", "loose.png", "empty.png"]


def test_summary_averages_shares_over_images_and_ious_over_pairs() -> None:
    images = {"a": agreement(1.0, 1.0, 0.8, 0.6), "b": agreement(0.5, 0.4), "c": agreement(0.0)}
    assert summarize(images) == {
        "images": 3,
        "images_with_detections": 3,
        "share_matched": 0.5,
        "mean_matched_iou": pytest.approx(0.7),
        "images_in_full_agreement": 1,
    }
    assert summarize({"c": agreement(0.0)})["mean_matched_iou"] is None


def test_images_without_detections_are_no_agreement() -> None:
    assert summarize({"a": agreement(None), "b": agreement(0.5, 0.8), "c": agreement(None)}) == {
        "images": 3,
        "images_with_detections": 1,
        "share_matched": 0.5,
        "mean_matched_iou": 0.8,
        "images_in_full_agreement": 0,
    }
    nothing = summarize({"a": agreement(None), "b": agreement(None)})
    assert nothing["images_with_detections"] == 0
    assert nothing["share_matched"] is None
    assert nothing["images_in_full_agreement"] == 0
