from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ultralytics.utils.metrics import ap_per_class

from src.detector.accuracy import ImageMatches
from src.evaluation.bootstrap import DRAWS, Scores, difference, map50_95, score

LEVELS = 10


def image(boxes: Sequence[int], *found: tuple[float, int, int]) -> ImageMatches:
    """Return an image from the classes of its boxes, and detections: score, class, number of IoUs it is right at."""
    scores, classes, levels = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return ImageMatches(scores, classes, np.arange(LEVELS) < levels[:, None], np.array(boxes, dtype=np.float32))


def random_images(random: np.random.Generator, boxes_of_class: Sequence[int], images: int) -> list[ImageMatches]:
    """Return images with these numbers of boxes of each class: some are missed, and some detections are wrong."""
    boxes: list[list[int]] = [[] for _ in range(images)]
    for one, number in enumerate(boxes_of_class):
        for index in random.integers(images, size=number):
            boxes[index].append(one)
    made = []
    for of_image in boxes:
        right = [(random.uniform(0.2, 1), one, random.integers(1, LEVELS + 1)) for one in of_image]
        wrong = [(random.uniform(0, 0.9), random.integers(len(boxes_of_class)), 0) for _ in range(3)]
        made.append(image(of_image, *(found for found in right if random.random() < 0.8), *wrong))
    return made


def by_ultralytics(images: Sequence[ImageMatches], drawn: np.ndarray) -> float:
    """Return mAP50-95 of images that are there as often as they were drawn."""
    there = [one for one, times in zip(images, drawn, strict=True) for _ in range(times)]
    stats = (
        np.concatenate([getattr(one, name) for one in there]) for name in ("correct", "scores", "classes", "labelled")
    )
    return float(ap_per_class(*stats)[5].mean())


@pytest.mark.parametrize("seed", range(5))
def test_the_map_of_all_images_is_ultralytics(seed: int) -> None:
    # Primes: no recall is one of the hundred at which precision is read; there floats may fall on either side.
    images = random_images(np.random.default_rng(seed), (13, 7, 29), images=20)
    drawn = np.ones((1, 20), dtype=np.int64)
    assert 0.1 < by_ultralytics(images, drawn[0]) < 0.8
    assert map50_95(images, drawn)[0] == pytest.approx(by_ultralytics(images, drawn[0]), abs=1e-9)


def test_the_map_of_a_draw_is_ultralytics_of_the_images_that_were_drawn() -> None:
    random = np.random.default_rng(0)
    images = random_images(random, (30, 8, 3), images=20)
    drawn = np.stack([np.bincount(random.integers(20, size=20), minlength=20) for _ in range(30)])
    expected = [by_ultralytics(images, one) for one in drawn]
    assert np.std(expected) > 0.02
    assert map50_95(images, drawn) == pytest.approx(np.array(expected), abs=0.002)


def test_small_examples() -> None:
    found, missed = image([0], (0.9, 0, LEVELS)), image([0])
    wrong = image([], (0.95, 0, 0))
    images = [found, missed, wrong]
    drawn = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 1], [2, 1, 0], [0, 0, 3]])
    # The recalls 0 to 0.99 count, the first of them half: at most 0.995.
    assert map50_95(images, drawn).tolist() == pytest.approx([0.995, 0, 0.495, 0.4975, 0.665, 0])


def test_a_class_that_a_draw_has_no_box_of_does_not_count() -> None:
    images = [image([0], (0.9, 0, LEVELS)), image([1])]
    assert map50_95(images, np.array([[1, 0], [1, 1]])).tolist() == pytest.approx([0.995, 0.4975])


def test_the_same_detector_gains_nothing() -> None:
    scores = score(random_images(np.random.default_rng(0), (13, 7), images=10))
    assert scores.draws.shape == (DRAWS,)
    assert scores.draws.std() > 0
    one = difference(scores, scores)
    assert (one.gained, one.low, one.high, one.is_noise) == (0, 0, 0, True)


def finding(images: int, of: int) -> list[ImageMatches]:
    """Return images with a box each, which is found in the first `images` of them."""
    return [image([0], (0.9 - 0.01 * index, 0, LEVELS)) if index < images else image([0]) for index in range(of)]


@pytest.mark.parametrize(
    ("before", "after", "is_noise"),
    [
        pytest.param(20, 36, False, id="many more are found"),
        pytest.param(36, 20, False, id="many more are missed"),
        pytest.param(20, 21, True, id="one more is found"),
    ],
)
def test_one_image_decides_nothing(before: int, after: int, is_noise: bool) -> None:
    one = difference(score(finding(before, of=40)), score(finding(after, of=40)))
    assert one.gained == pytest.approx((after - before) / 40, abs=0.01)
    assert one.low <= one.gained <= one.high
    assert one.is_noise is is_noise


def test_both_are_scored_on_the_same_draws() -> None:
    """Each of these detectors varies by itself, their difference does not."""
    perfect = [image([0], (0.9, 0, LEVELS)), image([0])] * 20
    half = [image([0], (0.9, 0, LEVELS // 2)), image([0])] * 20
    one = difference(score(half), score(perfect))
    assert one.low == pytest.approx(score(perfect).draws.min() / 2, abs=0.1)
    assert score(perfect).draws.std() > 0.05
    assert np.allclose(score(half).draws * 2, score(perfect).draws)


def test_the_interval_is_the_middle_of_the_draws() -> None:
    before = Scores(0.5, np.zeros(DRAWS))
    after = Scores(0.52, np.linspace(-0.01, 0.05, DRAWS))
    one = difference(before, after)
    assert (one.gained, one.low, one.high) == (0.02, -0.0085, 0.0485)
